/* Critical sections of a thread: while one is open, a handler of the program is held back until it closes.
 *
 * Every handler of the program runs behind our own (wait/signal.c); that one looks at `thread.critical`, and when it is
 * not 0 keeps the signal and sends it again to this thread from critical_leave. So a handler may call any socket
 * function: it never meets a lock that its own thread holds.
 * Also here: what a sleep must know of signals that came (see wait/signal.h). */
#ifndef BYWAY_BASE_CRITICAL_H
#define BYWAY_BASE_CRITICAL_H

#include <stdint.h>
#include <time.h>

struct thread_state {
	uint32_t critical;         /* depth */
	uint32_t held_back;        /* signals wait for critical_leave */
	uint32_t arrivals;         /* handlers of the program that ran in this thread */
	uint32_t interruptions;    /* of these, without SA_RESTART */
	uint32_t vforked;          /* this is a vfork child: everything goes straight to the kernel */
	int32_t id;                /* gettid; 0 until asked, and in a new process */
	struct timespec *sleeping; /* the timeout of the sleep that is about to begin: an arrival sets it to 0 */
};

extern __thread struct thread_state thread;

/* Sends again what was held back; set by who holds something back. Called only while thread.held_back is not 0. */
extern void (*critical_deliver)(void);

static inline void critical_enter(void)
{
	thread.critical++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void critical_leave(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (--thread.critical == 0 && __builtin_expect(thread.held_back, 0))
		critical_deliver();
}

/* Asks the kernel. */
int32_t thread_learn_id(void);

static inline int32_t thread_id(void)
{
	return __builtin_expect(thread.id, 1) ? thread.id : thread_learn_id();
}

#endif
