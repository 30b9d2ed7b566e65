/* epoll sets of this process: what the kernel's set does not know is which rings have bytes.
 *
 * The kernel's set holds exactly what the program registered, with the program's data; Byway adds one bell for each pair
 * that has sockets in the set, and remembers which sockets of ours are in it (items). Rings post to the set's ready
 * bitmap in the pair (docs/local-transport.md, section 5). One lock for all sets, never held while sleeping. */
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
/* After the kernel took epoll_ctl(set_fd, operation, fd, event). 0, or -1: the socket went back to the kernel. */
void epoll_control(int set_fd, int operation, int fd, const struct epoll_event *event);
/* epoll_pwait2(2): events, or a negative errno. */
long epoll_wait_events(int set_fd, struct epoll_event *events, int count, uint64_t deadline_ns, const sigset_t *mask);
/* The set is watched by a poll, a select or another set: its bell must speak for its rings. */
void epoll_set_is_polled(int set_fd);

void epoll_start(void);
void epoll_fork_child(void);

/* SO_RCVLOWAT: the ring and the kernel together have as many bytes. */
int epoll_has_low_water(struct sock *sock, int fd);
/* The kernel shows an end and the peer's process is gone: finds out whether it was a reset. */
void epoll_check_end(struct sock *sock, int fd);

#endif
