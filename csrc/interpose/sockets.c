/* Calls that make and shape sockets (socket(2), connect(2), accept(2), listen(2), shutdown(2), getsockopt(2)). */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "interpose/interpose.h"
#include "sock/option.h"
#include "wait/epoll.h"

static int is_tcp(int domain, int type, int protocol)
{
	return (domain == AF_INET || domain == AF_INET6) && (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM &&
	       (protocol == 0 || protocol == IPPROTO_TCP);
}

APART int socket_tcp(int domain, int type, int protocol)
{
	int fd = REAL(socket)(domain, type, protocol);
	struct sock *sock;

	if (fd < 0 || thread.vforked)
		return fd;
	interpose_start();
	sock = sock_new(fd, 0);
	if (sock)
		sock_set_nonblocking(sock, type & SOCK_NONBLOCK);
	return fd;
}

EXPORT int socket(int domain, int type, int protocol)
{
	return is_tcp(domain, type, protocol) ? socket_tcp(domain, type, protocol) : REAL(socket)(domain, type, protocol);
}

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
	struct sock *sock = sock_of(fd);

	if (sock)
		fetch_or(&sock->shared->flags, SOCK_ACTIVE);
	return REAL(connect)(fd, address, bytes);
}

APART int listen_ours(struct sock *sock, int fd, int backlog)
{
	int result = REAL(listen)(fd, backlog);
	uint32_t open = SHM_SOCKET_OPEN;

	if (!result) {
		compare_swap(&sock->shared->state, &open, SHM_SOCKET_LISTEN);
		store_release(&sock->shared->reason, reason_none);
	}
	return result;
}

EXPORT int listen(int fd, int backlog)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(listen)(fd, backlog) : listen_ours(sock, fd, backlog);
}

/* A connection of a listener that we have not seen being made: the listener is remembered where it is none of ours. */
static int is_other_listener(int listener, int fd)
{
	if (sock_fd_is_tcp(fd))
		return 0;
	descriptor_set(listener, DESCRIPTOR_LISTENER, 0);
	return 1;
}

APART int accepted(int listener, int fd, int flags)
{
	struct sock *from = sock_of(listener);
	int saved_errno = errno;
	struct sock *sock;

	if (fd < 0 || thread.vforked || (!from && is_other_listener(listener, fd))) {
		errno = saved_errno;
		return fd;
	}
	interpose_start();
	sock = sock_new(fd, SOCK_PASSIVE);
	if (sock) {
		sock_set_nonblocking(sock, flags & SOCK_NONBLOCK);
		if (from && load_relaxed(&from->shared->state) == SHM_SOCKET_NEVER &&
		    load_relaxed(&from->shared->reason) == reason_option)
			sock_never(sock, fd, reason_option);
	}
	errno = saved_errno;
	return fd;
}

APART int accept_known(int fd, struct sockaddr *address, socklen_t *bytes)
{
	return accepted(fd, REAL(accept)(fd, address, bytes), 0);
}

APART int accept4_known(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
	return accepted(fd, REAL(accept4)(fd, address, bytes, flags), flags);
}

static inline int is_known_other_listener(int fd)
{
	return descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_LISTENER;
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *bytes)
{
	return is_known_other_listener(fd) ? REAL(accept)(fd, address, bytes) : accept_known(fd, address, bytes);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
	return is_known_other_listener(fd) ? REAL(accept4)(fd, address, bytes, flags)
	                                   : accept4_known(fd, address, bytes, flags);
}

APART int shutdown_ours(struct sock *sock, int fd, int how)
{
	int result;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return REAL(shutdown)(fd, how);
	if (sock_enter(sock, fd)) {
		local_check_end(&sock->end, fd); /* ENOTCONN after a reset */
		result = (int)interpose_result(local_shutdown(&sock->end, fd, how));
		epoll_edge(sock, ~0u);
		return result;
	}
	fetch_or(&sock->shared->flags, SOCK_SHUT);
	result = REAL(shutdown)(fd, how);
	sock_leave(sock);
	return result;
}

EXPORT int shutdown(int fd, int how)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(shutdown)(fd, how) : shutdown_ours(sock, fd, how);
}

APART int setsockopt_ours(struct sock *sock, int fd, int level, int name, const void *value, socklen_t bytes)
{
	int result = REAL(setsockopt)(fd, level, name, value, bytes);

	if (!result)
		option_was_set(sock, fd, level, name);
	if (!result && level == SOL_SOCKET && name == SO_RCVLOWAT)
		epoll_edge(sock, EPOLLIN | EPOLLRDNORM);
	return result;
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t bytes)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(setsockopt)(fd, level, name, value, bytes)
	                     : setsockopt_ours(sock, fd, level, name, value, bytes);
}

APART int getpeername_ours(struct sock *sock, int fd, struct sockaddr *address, socklen_t *address_bytes)
{
	if (sock_is_engine(sock))
		local_check_end(&sock->end, fd); /* ENOTCONN after a reset */
	return REAL(getpeername)(fd, address, address_bytes);
}

EXPORT int getpeername(int fd, struct sockaddr *address, socklen_t *address_bytes)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(getpeername)(fd, address, address_bytes)
	                     : getpeername_ours(sock, fd, address, address_bytes);
}

APART int getsockopt_ours(struct sock *sock, int fd, int level, int name, void *value, socklen_t *bytes)
{
	int result;

	if (!sock_is_engine(sock))
		return REAL(getsockopt)(fd, level, name, value, bytes);
	local_check_end(&sock->end, fd);
	result = option_get(sock, level, name, value, bytes);
	if (result)
		return (int)interpose_result(result < 0 ? result : 0);
	result = REAL(getsockopt)(fd, level, name, value, bytes);
	if (!result && level == SOL_SOCKET && name == SO_ERROR && *bytes && *(uint8_t *)value)
		fetch_or(&sock->shared->flags, SOCK_GONE | SOCK_TX_KERNEL); /* the kernel has told it: nothing to emulate */
	if (!result && level == IPPROTO_TCP && name == TCP_INFO)
		option_info_add(sock, value, *bytes);
	return result;
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *bytes)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(getsockopt)(fd, level, name, value, bytes)
	                     : getsockopt_ours(sock, fd, level, name, value, bytes);
}
