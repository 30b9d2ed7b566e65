/* Watches over a stack's cells and endpoints. The linker calls it in place of the functions that take and give back (--wrap), so that
 * what is given back twice is seen at once, and AddressSanitizer sees every access to a cell that nobody has. */
#ifndef TESTS_FUZZ_GUARD_H
#define TESTS_FUZZ_GUARD_H

#include "stack/stack.h"

enum {
	GUARD_CELLS_MAX = 256
};

/* Which cells are in use. */
struct guard {
	uint8_t is_taken[GUARD_CELLS_MAX];
};

/* All of the memory may be touched, so that a stack can be laid out there. */
void guard_suspend(struct stack *stack, uint64_t bytes);
/* The stack is fresh: only cell 0 is in use. */
void guard_begin(struct stack *stack);
const struct guard *guard_now(void);
/* All of the guarded stack's cells are free, and now those of `guard` are in use. */
void guard_resume(const struct guard *guard);

#endif
