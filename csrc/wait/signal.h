/* The program's signal handlers, behind ours.
 *
 * Decides: a handler never runs inside a critical section (base/critical.h); a call that spins or sleeps learns that one
 * has run, and whether it has SA_RESTART (signal(7)); a bad pointer in a copy gives EFAULT. */
#ifndef BYWAY_WAIT_SIGNAL_H
#define BYWAY_WAIT_SIGNAL_H

#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "base/critical.h"

/* sigaction(2) for the program. 0, or -1 with errno. */
int signal_action(int number, const struct sigaction *action, struct sigaction *old);

/* From the start of the library on: faults in copies are recognised. */
void signal_guard_copies(void);

/* In a forked child: it sees the actions whole. */
void signal_fork_child(void);

/* What had arrived when a call began. */
struct signal_mark {
	uint32_t arrivals;
	uint32_t interruptions;
};

static inline struct signal_mark signal_now(void)
{
	return (struct signal_mark){thread.arrivals, thread.interruptions};
}
/* poll, select, epoll_wait: every handler interrupts. */
static inline int signal_came(struct signal_mark mark)
{
	return thread.arrivals != mark.arrivals;
}
/* recv, send: handlers with SA_RESTART do not, unless the call has a timeout. */
static inline int signal_interrupts(struct signal_mark mark, int has_timeout)
{
	return has_timeout ? thread.arrivals != mark.arrivals : thread.interruptions != mark.interruptions;
}

/* Between these two a handler that arrives sets *timeout to 0, so that a sleep which is about to begin returns at once:
 * look at the marks after signal_sleep_begins, then sleep in a system call that reads *timeout. */
static inline void signal_sleep_begins(struct timespec *timeout)
{
	thread.sleeping = timeout;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static inline void signal_sleep_ends(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread.sleeping = 0;
}

/* Keeps a signal until critical_leave; for our handler, while thread.critical is not 0 (wait/held_back.c). Signal-safe. */
void signal_hold_back(int signal, const void *info);

#endif
