/* What the calls with messages (messages.c) share with those without (data.c). */
#ifndef BYWAY_INTERPOSE_DATA_H
#define BYWAY_INTERPOSE_DATA_H

#include <sys/uio.h>

#include "sock/sock.h"

#define PIECES_MAX 1024 /* UIO_MAXIOV */

/* A send of ours: unusual flags, attach, gate. 1: engine; 0: a plain call, to be ended. */
int data_send_begins(struct sock *sock, int fd, int flags);
int data_recv_begins(struct sock *sock, int fd, int flags);
/* The plain call is over, with `result`; returns that. */
long data_send_ends(struct sock *sock, long result);
long data_recv_ends(struct sock *sock, int fd, long result);

/* By the engine, with an array of the program of at most PIECES_MAX pieces. As libc: bytes, or -1 and errno. */
long data_send_vector(struct sock *sock, int fd, const struct iovec *pieces, size_t count, int flags);
long data_recv_vector(struct sock *sock, int fd, const struct iovec *pieces, size_t count, int flags);

#endif
