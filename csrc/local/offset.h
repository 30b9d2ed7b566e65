/* Where a TCP stream stands, asked of the kernel and never only counted (tcp(7), TCP_INFO; ioctl SIOCINQ). */
#ifndef BYWAY_LOCAL_OFFSET_H
#define BYWAY_LOCAL_OFFSET_H

#include <stdint.h>

/* Bytes that this socket's user has put into the kernel so far. 0; -EPIPE when the connection does not take bytes any
 * more; or a negative errno. */
int offset_sent(int fd, uint64_t *offset);

/* Bytes that this socket's user has taken out of the kernel so far. FIN counts as one byte that nobody takes; in state
 * CLOSE the kernel does not tell whether it came, and `counted`, our own count, decides between the two. 0 or a negative
 * errno. */
int offset_received(int fd, uint64_t counted, uint64_t *offset);

/* 1 when the peer's bytes before `offset` have come, or never will: a receive in the kernel does not find it empty. */
int offset_has_arrived(int fd, uint64_t offset);

/* Bytes of the stream that have arrived at this socket, taken or not. 0 or a negative errno. */
int offset_arrived(int fd, uint64_t *offset);

/* 1 when the connection is over for the kernel: reset, or closed by both. */
int offset_is_closed(int fd);

/* 1 when this socket was shut down for sending; unknown, and 0, once the connection is over. */
int offset_fin_sent(int fd);

/* 1 when the kernel has had the peer's FIN. */
int offset_fin_received(int fd);

/* Bytes that wait in the kernel's receive queue, or a negative errno. */
long offset_waiting(int fd);

/* 1 when the socket has an error that nobody was told of (POLLERR). */
int offset_has_error(int fd);

/* 1 when urgent data has arrived that nobody has read or passed (POLLPRI). */
int offset_has_urgent(int fd);

#endif
