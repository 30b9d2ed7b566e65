/* poll, ppoll, select and pselect over sets in which sockets of ours occur. */
#ifndef BYWAY_WAIT_POLL_H
#define BYWAY_WAIT_POLL_H

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/select.h>

/* Whether any of these is a socket or an epoll set of ours: if not, libc is called. */
int poll_concerns_us(const struct pollfd *fds, unsigned long count);
int poll_select_concerns_us(int count, const fd_set *reads, const fd_set *writes, const fd_set *errors);

/* ppoll(2): number of ready descriptors, or a negative errno. `deadline_ns`: 0 do not wait, CLOCK_NEVER for ever. */
long poll_wait(struct pollfd *fds, unsigned long count, uint64_t deadline_ns, const sigset_t *mask);
/* pselect(2), the same way. */
long poll_select(int count, fd_set *reads, fd_set *writes, fd_set *errors, uint64_t deadline_ns, const sigset_t *mask);

#endif
