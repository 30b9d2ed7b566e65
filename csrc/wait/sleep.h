/* The one place where threads sleep: in the kernel, on descriptors, with signals as Linux has them. */
#ifndef BYWAY_WAIT_SLEEP_H
#define BYWAY_WAIT_SLEEP_H

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "wait/signal.h"

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
