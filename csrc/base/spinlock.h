/* A small lock between threads of one process, for process-private tables. Held for a few instructions only, inside a
 * critical section, and not across the program's fork: users reset theirs in the child. The one exception is the making of a
 * relay (sock/relay.c), whose process uses none. */
#ifndef BYWAY_BASE_SPINLOCK_H
#define BYWAY_BASE_SPINLOCK_H

#include "base/cpu.h"
#include "base/critical.h"
#include "base/sys.h"

struct spinlock {
	uint32_t held;
};

/* 1: taken, and spinlock_release must follow; 0: somebody has it. */
static inline int spinlock_try(struct spinlock *lock)
{
	critical_enter();
	if (likely(!exchange(&lock->held, 1)))
		return 1;
	critical_leave();
	return 0;
}

static inline void spinlock_acquire(struct spinlock *lock)
{
	unsigned tries = 0;

	critical_enter();
	while (exchange(&lock->held, 1))
		while (load_relaxed(&lock->held)) {
			cpu_pause();
			if (++tries > 100)
				SYS0(SYS_sched_yield);
		}
}

static inline void spinlock_release(struct spinlock *lock)
{
	store_release(&lock->held, 0);
	critical_leave();
}

#endif
