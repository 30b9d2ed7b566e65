/* Socket options: the only place that knows them (socket(7), tcp(7), ip(7), ipv6(7)). */
#ifndef BYWAY_SOCK_OPTION_H
#define BYWAY_SOCK_OPTION_H

#include "sock/sock.h"

/* After a setsockopt that the kernel took: what it means for the engine. */
void option_was_set(struct sock *sock, int fd, int level, int name);
/* What was set before we looked, perhaps on the listener: low-water mark and timeouts. */
void option_find_out(struct sock *sock, int fd);
/* Before the kernel is asked: SO_ERROR of an emulated reset. 1 when *value and *bytes are the answer, 0 when the kernel has
 * it, or a negative errno. */
int option_get(struct sock *sock, int level, int name, void *value, unsigned *bytes);
/* After the kernel's answer to TCP_INFO: adds what went by the ring. */
void option_info_add(struct sock *sock, void *info, unsigned bytes);

/* SO_RCVTIMEO or SO_SNDTIMEO in nanoseconds; UINT64_MAX: none. */
uint64_t option_timeout_ns(int fd, int name);
int option_receive_low_water(struct sock *sock, int fd);

#endif
