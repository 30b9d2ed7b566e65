/* Options that the engine need not know are the kernel's alone; those it cannot carry send the socket back. */
#include "sock/option.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>

#include "base/copy.h"
#include "base/sys.h"

/* The kernel does all that they mean, or they mean nothing for bytes that never meet a network. */
static int is_carried_socket_option(int name)
{
	static const int carried[] = {SO_DEBUG,     SO_REUSEADDR,    SO_DONTROUTE,       SO_BROADCAST,    SO_SNDBUF,
	                              SO_RCVBUF,    SO_SNDBUFFORCE,  SO_RCVBUFFORCE,     SO_KEEPALIVE,    SO_OOBINLINE,
	                              SO_PRIORITY,  SO_LINGER,       SO_REUSEPORT,       SO_PASSCRED,     SO_RCVLOWAT,
	                              SO_SNDLOWAT,  SO_RCVTIMEO,     SO_SNDTIMEO,        SO_BINDTODEVICE, SO_MARK,
	                              SO_BUSY_POLL, SO_INCOMING_CPU, SO_MAX_PACING_RATE, SO_LOCK_FILTER,  SO_NO_CHECK};

	for (size_t i = 0; i < sizeof(carried) / sizeof(*carried); i++)
		if (carried[i] == name)
			return 1;
	return 0;
}

static int is_carried_tcp_option(int name)
{
	static const int carried[] = {TCP_NODELAY,      TCP_MAXSEG,       TCP_CORK,          TCP_KEEPIDLE,
	                              TCP_KEEPINTVL,    TCP_KEEPCNT,      TCP_SYNCNT,        TCP_LINGER2,
	                              TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_QUICKACK,      TCP_CONGESTION,
	                              TCP_USER_TIMEOUT, TCP_FASTOPEN,     TCP_NOTSENT_LOWAT, TCP_THIN_LINEAR_TIMEOUTS,
	                              TCP_THIN_DUPACK,  TCP_SAVE_SYN};

	for (size_t i = 0; i < sizeof(carried) / sizeof(*carried); i++)
		if (carried[i] == name)
			return 1;
	return 0;
}

static int is_carried(int level, int name)
{
	switch (level) {
	case SOL_SOCKET:
		return is_carried_socket_option(name);
	case IPPROTO_TCP:
		return is_carried_tcp_option(name);
	case IPPROTO_IP:
		return name != IP_RECVERR && name != IP_OPTIONS;
	case IPPROTO_IPV6:
		return name != IPV6_RECVERR && name != IPV6_2292PKTOPTIONS;
	default:
		return 0;
	}
}

static void low_water_was_set(struct sock *sock)
{
	fetch_or(&sock->shared->flags, SOCK_LOWAT);
	if (sock_is_engine(sock))
		local_ask_for_kernel_bytes(&sock->end);
}

void option_was_set(struct sock *sock, int fd, int level, int name)
{
	if (!is_carried(level, name))
		sock_never(sock, fd, reason_option);
	if (level == SOL_SOCKET && name == SO_RCVLOWAT)
		low_water_was_set(sock);
	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
		fetch_or(&sock->shared->flags, SOCK_TIMEOUTS);
}

void option_find_out(struct sock *sock, int fd)
{
	int low_water = 1;
	unsigned bytes = sizeof(low_water);

	if (!sys_getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low_water, &bytes) && low_water > 1)
		fetch_or(&sock->shared->flags, SOCK_LOWAT);
	if (option_timeout_ns(fd, SO_RCVTIMEO) != UINT64_MAX || option_timeout_ns(fd, SO_SNDTIMEO) != UINT64_MAX)
		fetch_or(&sock->shared->flags, SOCK_TIMEOUTS);
}

int option_get(struct sock *sock, int level, int name, void *value, unsigned *bytes)
{
	unsigned room;
	int error;

	if (level != SOL_SOCKET || name != SO_ERROR || !load_relaxed(&sock->shared->pending_error))
		return 0;
	if (copy_guarded(&room, bytes, sizeof(room)))
		return -EFAULT;
	if ((int)room < 0)
		return -EINVAL;
	error = (int)exchange(&sock->shared->pending_error, 0);
	if (room > sizeof(error))
		room = sizeof(error);
	return copy_guarded(value, &error, room) || copy_guarded(bytes, &room, sizeof(room)) ? -EFAULT : 1;
}

void option_info_add(struct sock *sock, void *info, unsigned bytes)
{
	struct tcp_info full;
	uint64_t sent = load_relaxed(&sock->shared->last_ring_sent_bytes);
	uint64_t received = load_acquire(&sock->end.rx->tail) & SHM_OFFSET_MASK;

	if (bytes > sizeof(full))
		bytes = sizeof(full);
	memset(&full, 0, sizeof(full));
	memcpy(&full, info, bytes);
	full.tcpi_bytes_sent += sent;
	full.tcpi_bytes_acked += sent;
	full.tcpi_bytes_received += received;
	memcpy(info, &full, bytes);
}

uint64_t option_timeout_ns(int fd, int name)
{
	struct timeval value = {0, 0};
	unsigned bytes = sizeof(value);

	if (sys_getsockopt(fd, SOL_SOCKET, name, &value, &bytes) || (!value.tv_sec && !value.tv_usec))
		return UINT64_MAX;
	return (uint64_t)value.tv_sec * 1000000000u + (uint64_t)value.tv_usec * 1000u;
}

int option_receive_low_water(struct sock *sock, int fd)
{
	int value = 1;
	unsigned bytes = sizeof(value);

	if (!(load_relaxed(&sock->shared->flags) & SOCK_LOWAT))
		return 1;
	return sys_getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, &bytes) || value < 1 ? 1 : value;
}
