/* The last way into the kernel (docs/local-transport.md, section 7): a program that knows nothing of rings gets a
 * connection of its own, and a small process, the relay, moves bytes between it and the old socket. */
#ifndef BYWAY_SOCK_RELAY_H
#define BYWAY_SOCK_RELAY_H

#include "sock/sock.h"

/* Makes the relay of `sock`, whose descriptor `fd` is, and puts its connection in the place of all descriptors that this
 * process has of the socket (in a vfork child: that the child has). 0, or a negative errno: then nothing has changed. */
int relay_make(struct sock *sock, int fd);

/* -- between the files of the relay ------------------------------------------------------------------------------------ */

/* A new connection of this machine, like the old socket `old`: family, addresses but for the ports, options, O_NONBLOCK.
 * *relay_end and *program_end are close-on-exec. 0, or a negative errno. Waits for a second at most. */
int relay_link_make(int old, int *relay_end, int *program_end);

/* In the new process: nothing of the one that it was forked from goes on, but the two sockets and what the engine needs. */
void relay_process_begin(struct sock *sock, int old, int link, uint32_t process);

/* The relay's process, from its fork to its end: pumps between `old` and `link`; sets *settled, which is shared memory, when
 * all that was there has been moved. Never returns. */
void relay_run(struct sock *sock, int old, int link, uint32_t process, uint32_t *settled) __attribute__((noreturn));

#endif
