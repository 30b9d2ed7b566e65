/* Waiting for a lock: a little spinning, then yielding, then asking whether the owner lives. */
#include "base/lock.h"

#include "base/process.h"
#include "base/sys.h"

#define SPINS_MAX 200
#define YIELDS_BEFORE_ASKING 64

int (*lock_owners_are_known)(void);

/* A thread that waits here for its own id waits for a dead namesake. */
static int owner_is_gone(uint64_t held)
{
	int32_t owner = (int32_t)(held & LOCK_OWNER_MASK);

	if (lock_owners_are_known && !lock_owners_are_known())
		return 0;
	return owner == thread_id() || process_thread_is_gone(owner);
}

static int take_over(uint64_t *word, uint64_t held)
{
	uint64_t generation = (lock_generation(held) + 1) & LOCK_GENERATION_MASK;

	return compare_swap(word, &held, generation << LOCK_GENERATION_SHIFT | (uint32_t)thread_id());
}

int lock_contended(uint64_t *word)
{
	for (unsigned tries = 0;; tries++) {
		uint64_t held = load_relaxed(word);

		if (!(held & LOCK_OWNER_MASK)) {
			if (compare_swap(word, &held, held | (uint32_t)thread_id()))
				return 0;
			continue;
		}
		if (tries < SPINS_MAX) {
			cpu_pause();
			continue;
		}
		if (tries % YIELDS_BEFORE_ASKING == 0 && owner_is_gone(held) && take_over(word, held))
			return 1;
		SYS0(SYS_sched_yield);
	}
}
