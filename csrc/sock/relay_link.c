/* The connection that a foreign program gets in the place of a socket of ours: made over a listener that lives for this
 * moment only. The relay's end connects, the program's end is accepted, and nobody else who connects meanwhile is taken.
 * Called by relay.c, by any thread; no lock. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/sys.h"
#include "local/offset.h"
#include "sock/relay.h"

#define WAIT_MS_MAX 1000
#define STRANGERS_MAX 64

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct place {
	union address address;
	unsigned bytes;
};

/* -- addresses ---------------------------------------------------------------------------------------------------------- */

static int place_of(long nr, int fd, struct place *place)
{
	memset(place, 0, sizeof(*place));
	place->bytes = sizeof(place->address);
	return (int)sys_getname(nr, fd, &place->address, &place->bytes);
}

/* The same address, any port: the old one is taken. */
static void any_port(struct place *place)
{
	if (place->address.any.sa_family == AF_INET)
		place->address.in.sin_port = 0;
	else
		place->address.in6.sin6_port = 0;
}

static void loopback(struct place *place, int family)
{
	memset(place, 0, sizeof(*place));
	place->address.any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		place->address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		place->bytes = sizeof(place->address.in);
	} else {
		place->address.in6.sin6_addr = in6addr_loopback;
		place->bytes = sizeof(place->address.in6);
	}
}

static int is_same(const struct place *a, const struct place *b)
{
	if (a->address.any.sa_family != b->address.any.sa_family)
		return 0;
	if (a->address.any.sa_family == AF_INET)
		return a->address.in.sin_port == b->address.in.sin_port &&
		       a->address.in.sin_addr.s_addr == b->address.in.sin_addr.s_addr;
	return a->address.in6.sin6_port == b->address.in6.sin6_port &&
	       !memcmp(&a->address.in6.sin6_addr, &b->address.in6.sin6_addr, sizeof(a->address.in6.sin6_addr));
}

/* -- connecting --------------------------------------------------------------------------------------------------------- */

static int bound_socket(const struct place *place)
{
	long fd = sys_socket(place->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	int no = 0;
	long error;

	if (fd < 0)
		return (int)fd;
	if (place->address.any.sa_family == AF_INET6) /* addresses of IPv4 may stand in it */
		sys_setsockopt((int)fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	error = sys_bind((int)fd, &place->address, place->bytes);
	if (!error)
		return (int)fd;
	sys_close((int)fd);
	return (int)error;
}

/* Accepts the connection that comes from `caller`; others are turned away. */
static int accept_from(int listener, const struct place *caller)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)WAIT_MS_MAX * 1000000u;

	for (int strangers = 0; strangers < STRANGERS_MAX && clock_now_ns() < deadline; strangers++) {
		struct pollfd asked = {.fd = listener, .events = POLLIN};
		struct place found;
		long fd;

		if (sys_poll(&asked, 1, WAIT_MS_MAX) == 0)
			return -ETIMEDOUT;
		fd = sys_accept4(listener, SOCK_CLOEXEC);
		if (fd < 0 && fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED)
			return (int)fd;
		if (fd < 0)
			continue;
		if (!place_of(SYS_getpeername, (int)fd, &found) && is_same(&found, caller))
			return (int)fd;
		sys_close((int)fd);
	}
	return -ETIMEDOUT;
}

static int connect_to(int caller, int listener)
{
	struct place there, here;
	long error = place_of(SYS_getsockname, listener, &there);

	if (!error)
		error = sys_connect(caller, &there.address, there.bytes);
	if (error && error != -EINPROGRESS)
		return (int)error;
	error = place_of(SYS_getsockname, caller, &here);
	return error ? (int)error : accept_from(listener, &here);
}

/* The program's end lies at `local`, the relay's at `remote`. */
static int link_between(const struct place *local, const struct place *remote, int *relay_end, int *program_end)
{
	int listener = bound_socket(local);
	int error;

	if (listener < 0)
		return listener;
	*relay_end = bound_socket(remote);
	error = *relay_end < 0 ? *relay_end : (int)sys_listen(listener, 1);
	if (!error)
		error = *program_end = connect_to(*relay_end, listener);
	sys_close(listener);
	if (error < 0 && *relay_end >= 0)
		sys_close(*relay_end);
	return error < 0 ? error : 0;
}

/* -- likeness ----------------------------------------------------------------------------------------------------------- */

/* What a program may have set, and may count on. Timeouts and SO_LINGER are structures. */
static void copy_options(int from, int to)
{
	static const struct {
		int level, name;
	} copied[] = {
		{SOL_SOCKET, SO_KEEPALIVE},
		{SOL_SOCKET, SO_LINGER},
		{SOL_SOCKET, SO_OOBINLINE},
		{SOL_SOCKET, SO_RCVTIMEO},
		{SOL_SOCKET, SO_SNDTIMEO},
		{SOL_SOCKET, SO_RCVLOWAT},
		{SOL_SOCKET, SO_PRIORITY},
		{SOL_SOCKET, SO_REUSEADDR},
		{IPPROTO_TCP, TCP_NODELAY},
		{IPPROTO_TCP, TCP_CORK},
		{IPPROTO_TCP, TCP_KEEPIDLE},
		{IPPROTO_TCP, TCP_KEEPINTVL},
		{IPPROTO_TCP, TCP_KEEPCNT},
		{IPPROTO_TCP, TCP_USER_TIMEOUT},
		{IPPROTO_TCP, TCP_NOTSENT_LOWAT},
		{IPPROTO_TCP, TCP_LINGER2},
		{IPPROTO_IP, IP_TOS},
		{IPPROTO_IPV6, IPV6_TCLASS},
	};

	for (size_t i = 0; i < sizeof(copied) / sizeof(*copied); i++) {
		char value[sizeof(struct timeval)];
		unsigned bytes = sizeof(value);

		if (!sys_getsockopt(from, copied[i].level, copied[i].name, value, &bytes))
			sys_setsockopt(to, copied[i].level, copied[i].name, value, bytes);
	}
}

/* Buffer sizes that the program has set itself; the kernel shows them doubled. */
static void copy_buffer_sizes(int from, int to)
{
	static const int names[2] = {SO_SNDBUF, SO_RCVBUF}; /* in the order of SO_BUF_LOCK's bits */
	int locked = 0;
	unsigned bytes = sizeof(locked);

	if (sys_getsockopt(from, SOL_SOCKET, SO_BUF_LOCK, &locked, &bytes))
		return;
	for (int i = 0; i < 2; i++) {
		int value = 0;

		bytes = sizeof(value);
		if (!(locked & 1 << i) || sys_getsockopt(from, SOL_SOCKET, names[i], &value, &bytes))
			continue;
		value /= 2;
		sys_setsockopt(to, SOL_SOCKET, names[i], &value, sizeof(value));
	}
}

static void make_alike(int from, int to)
{
	long flags = sys_fcntl(from, F_GETFL, 0);

	copy_options(from, to);
	copy_buffer_sizes(from, to);
	if (flags >= 0)
		sys_fcntl(to, F_SETFL, flags & O_NONBLOCK);
	if (offset_fin_sent(from))
		SYS2(SYS_shutdown, to, SHUT_WR);
}

int relay_link_make(int old, int *relay_end, int *program_end)
{
	struct place local, remote;
	int error = place_of(SYS_getsockname, old, &local);

	if (error)
		return error;
	if (place_of(SYS_getpeername, old, &remote)) /* the connection is over, what was received is not */
		remote = local;
	any_port(&local);
	any_port(&remote);
	error = link_between(&local, &remote, relay_end, program_end);
	if (error) { /* an address that went, another network namespace */
		loopback(&local, local.address.any.sa_family);
		error = link_between(&local, &local, relay_end, program_end);
	}
	if (!error)
		make_alike(old, *program_end);
	return error;
}
