/* Blocking and non-blocking receive and send of a socket that goes through the engine. */
#ifndef BYWAY_WAIT_BLOCK_H
#define BYWAY_WAIT_BLOCK_H

#include "sock/sock.h"

/* recv(2) and send(2) as the program means them: bytes, 0, or a negative errno. `flags`: MSG_*. The caller raises SIGPIPE. */
long block_recv(struct sock *sock, int fd, struct cursor *to, int flags);
long block_send(struct sock *sock, int fd, struct cursor *from, int flags);

#endif
