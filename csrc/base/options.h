/* The options of this process (options.def), read once from the environment. Read-only afterwards. */
#ifndef BYWAY_BASE_OPTIONS_H
#define BYWAY_BASE_OPTIONS_H

#include <stdint.h>

struct options {
#define OPTION(name, scope, type, value, minimum, maximum, text) int64_t name;
#include "shm/options.def"
#undef OPTION
};

extern struct options options;

void options_start(void);

#endif
