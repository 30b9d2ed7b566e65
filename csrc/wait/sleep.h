/* The one place where threads sleep: in the kernel, on descriptors, with signals as Linux has them. */
#ifndef BYWAY_WAIT_SLEEP_H
#define BYWAY_WAIT_SLEEP_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "wait/signal.h"

/* Around code in which a handler of the program may run, and may leave by siglongjmp(3), or the thread may be cancelled:
 * `undo(of)` runs then, in the thread, with the frames of the code still there. In the manner of pthread_cleanup_push(3), whose
 * present form longjmp passes over without running it. The two must be in one function. */
void _pthread_cleanup_push(struct _pthread_cleanup_buffer *buffer, void (*undo)(void *of), void *of);
void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *buffer, int run);

/* A call that finds all it needs does not sleep; it is a cancellation point all the same (pthreads(7)), as soon as a thread of
 * the process has been cancelled. Before it has done or holds anything. */
extern uint32_t sleep_cancels; /* set by pthread_cancel, for good */
static inline void sleep_cancel_point(void)
{
	if (__builtin_expect(__atomic_load_n(&sleep_cancels, __ATOMIC_RELAXED), 0))
		pthread_testcancel();
}

/* Sleeps in ppoll(2) until `deadline_ns` (CLOCK_NEVER: for ever) or a handler of the program runs or had run after `mark`.
 * What ppoll returned; 0 also where a handler came in before; -EINTR. A cancellation point. `mask`: NULL or the mask. */
long sleep_poll(struct pollfd *fds, unsigned long count, uint64_t deadline_ns, const sigset_t *mask,
                struct signal_mark mark);
/* The same with epoll_pwait2(2). */
long sleep_epoll(int set, struct epoll_event *events, int count, uint64_t deadline_ns, const sigset_t *mask,
                 struct signal_mark mark);

/* Deadline of a relative time; CLOCK_NEVER for NULL. */
uint64_t sleep_deadline(const struct timespec *timeout);
uint64_t sleep_deadline_ms(int timeout_ms);

#endif
