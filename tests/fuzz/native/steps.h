/* The steps that an input is made of, each in the file that its kind has. */
#ifndef TESTS_FUZZ_STEPS_H
#define TESTS_FUZZ_STEPS_H

#include "world.h"

typedef void step(struct world *world, struct input *input);

#define STEP(name, text) step step_##name;
#include "steps.def"
#undef STEP

#endif
