/* Edges that a set of the kernel has ready for one descriptor: takes one as if the program had been shown it, or has the
 * kernel look again. For the moments when the kernel learns what the program knows already. See edge.c. */
#ifndef BYWAY_WAIT_EDGE_H
#define BYWAY_WAIT_EDGE_H

#include <sys/epoll.h>

enum edge {
	EDGE_NONE = 0,
	EDGE_TAKEN = 1,
	EDGE_UNKNOWN = 2 /* nothing can be said, and nothing was taken */
};

/* Takes the event that the kernel's `set` has for the one descriptor that is registered with `data`. All other descriptors
 * keep theirs. */
enum edge edge_take(int set, uint64_t data);
/* As EPOLL_CTL_MOD, which an exclusive registration refuses: the kernel looks, and what is ready is an edge. 0 or a negative
 * errno. */
long edge_register(int set, int fd, struct epoll_event event);

#endif
