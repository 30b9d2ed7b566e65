/* epoll sets of this process: what the kernel's set does not know is which rings have bytes.
 *
 * Byway remembers which sockets of ours are in a set (items), and adds one bell for each pair that has sockets in it.
 * Rings post to the set's ready bitmap in the pair (docs/local-transport.md, section 5). The kernel's set holds what the
 * program registered, with one exception: a level-triggered item of a socket that goes through the engine is registered
 * with a tag in place of the program's data and with at least what the program wants to read, so that a program which
 * changes its mind for every message (epoll_ctl) need not tell the kernel; what the kernel says is filtered.
 * One lock for all sets, never held while sleeping. */
#ifndef BYWAY_WAIT_EPOLL_H
#define BYWAY_WAIT_EPOLL_H

#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "sock/sock.h"

/* A new epoll set `fd` of the program. */
void epoll_set_new(int fd);
void epoll_set_add_descriptor(uint32_t set, int fd);
void epoll_set_close(uint32_t set);
/* epoll_ctl(2) where `fd` is one of ours. 0 or a negative errno. */
long epoll_control(int set_fd, int operation, int fd, const struct epoll_event *event);
/* epoll_pwait2(2): events, or a negative errno. */
long epoll_wait_events(int set_fd, struct epoll_event *events, int count, uint64_t deadline_ns, const sigset_t *mask);
/* The set is watched by a poll, a select or another set: its bell must speak for its rings. */
void epoll_set_is_polled(int set_fd);

/* The program did something to its socket for which Linux looks at edge-triggered items again that want some of `events`:
 * shutdown(2), SO_RCVLOWAT. */
void epoll_edge(struct sock *sock, uint32_t events);
/* Before an exec that leaves the set open: from now on the kernel alone has it, and its sockets, for good. */
void epoll_set_passes(uint32_t set);

/* Before the first set. 0, or -ENOMEM: then nothing is accelerated. */
int epoll_start(void);
void epoll_stop(void); /* see sock_stop */
void epoll_fork_prepare(void); /* takes time for each socket in a set that an exec of the child leaves open */
void epoll_fork_child(void);

/* SO_RCVLOWAT: the ring and the kernel together have as many bytes. */
int epoll_has_low_water(struct sock *sock, int fd);
/* The ring makes the socket readable: a receive would find its bytes, and they are enough for SO_RCVLOWAT. Who is told no and
 * sleeps is woken, also when somebody else's receive makes it a yes. */
int epoll_ring_is_ready(struct sock *sock, int fd);

/* After a receive. Ring bytes that lay behind kernel bytes under way may be what comes next now: nobody posts them again. */
void epoll_look_again(struct sock *sock);
static inline void epoll_has_received(struct sock *sock)
{
	if (unlikely(load_relaxed(&sock->behind)))
		epoll_look_again(sock);
}

#endif
