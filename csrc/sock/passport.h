/* The passport: what the image before an exec leaves to the one after it, in the same process, when both have this library.
 *
 * A sealed memfd that lists the attached sockets that stay open, their pairs, and Byway's descriptors, which stay open too.
 * It lies at one of a few known numbers, so that nothing in the environment tells of it. What is in the rings, locks and
 * flags is in shared memory and needs no list (docs/local-transport.md, section 7). */
#ifndef BYWAY_SOCK_PASSPORT_H
#define BYWAY_SOCK_PASSPORT_H

#include "sock/sock.h"

/* Attached, and held by this process alone: it can pass. What cannot must be given to the kernel before (sock.given). */
int passport_suits(struct sock *sock);
/* Before an exec that should end in an image with this library: attached sockets that the image inherits are held, and
 * listed. 1: done, and until the exec nobody forks or attaches; 0: nothing was held and nothing has changed. */
int passport_make(void);
/* The exec failed. */
void passport_fail(void);

/* In a new image, before its first socket: 1 when there was a passport, and the arena is there; 0: none. `able`: 0 when the
 * library could not be started. Connections that cannot be taken over are reset: nobody is to wait for them. */
int passport_take(int able);

#endif
