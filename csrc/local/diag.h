/* Who is at the other end: asks the kernel (sock_diag(7)) for the identity of a TCP socket by its address pair. */
#ifndef BYWAY_LOCAL_DIAG_H
#define BYWAY_LOCAL_DIAG_H

#include <stdint.h>

struct diag_peer {
	uint64_t cookie; /* SO_COOKIE of the other end's socket */
	uint32_t user;   /* effective user id that owns it, as seen here */
	uint32_t unread; /* bytes that it has received and nobody has read */
	uint32_t inode;  /* 0: no process has a descriptor of it */
};

/* Fills *peer for the socket at the other end of connected TCP socket `fd`. 0; -ENOENT when it is not in this network
 * namespace; or another negative errno. About 20 us, no privileges. */
int diag_find_peer(int fd, struct diag_peer *peer);

/* SO_COOKIE of `fd`, 0 when it cannot be had. */
uint64_t diag_cookie(int fd);

#endif
