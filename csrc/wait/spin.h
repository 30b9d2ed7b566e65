/* How long a wait spins before it sleeps.
 *
 * By default a little (option spin_us), only while that pays: after spins that ended in a sleep the next ones are left
 * out, but for a trial now and then; a spin that was descheduled in the middle says that the processors are wanted by
 * others. Per thread; no locks. Signal safe: a handler's own waits can only make the next trial come earlier or later. */
#ifndef BYWAY_WAIT_SPIN_H
#define BYWAY_WAIT_SPIN_H

#include <stdint.h>

struct spin {
	uint64_t start;  /* ticks */
	uint64_t budget; /* ticks; 0: do not spin */
	uint64_t last;   /* ticks of the last look at the clock */
	uint64_t asked;  /* ticks of the last question to the kernel */
	uint32_t round;
};

/* Whether the next spin of this thread will be more than none. */
int spin_is_due(void);
/* Begins a spin. */
void spin_begin(struct spin *spin);
/* A sleep has ended that took so long. */
void spin_slept(uint64_t ticks);
/* One turn with a pause. 0: the budget is used up. */
int spin_turn(struct spin *spin);
/* 1 every `every_us` microseconds. */
int spin_should_ask(struct spin *spin, uint64_t every_us);
/* How it ended: with something to do, or with a sleep. */
void spin_won(struct spin *spin);
void spin_lost(struct spin *spin);

#endif
