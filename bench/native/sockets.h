/* Plain BSD sockets for the measuring programs: listen and connect on 127.0.0.1, or at $BENCH_ADDRESS, read and write all of a message.
 * Nothing here knows about Byway: these are the unmodified programs. */
#ifndef BENCH_SOCKETS_H
#define BENCH_SOCKETS_H

#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static inline struct sockaddr_in server_address(int port)
{
	const char *text = getenv("BENCH_ADDRESS");

	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = text ? inet_addr(text) : htonl(INADDR_LOOPBACK),
	};
}

static inline int tcp_listen(int port)
{
	struct sockaddr_in address = server_address(port);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024))
		fail("listen");
	return fd;
}

static inline int tcp_accept(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		fail("accept");
	return fd;
}

static inline int tcp_connect(int port)
{
	struct sockaddr_in address = server_address(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof address))
		fail("connect");
	return fd;
}

static inline void no_delay(int fd)
{
	int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
		fail("TCP_NODELAY");
}

/* Reads `bytes` bytes. `flags` MSG_DONTWAIT: asks again at once instead of sleeping. 0 at the end of the stream. */
static inline int receive_all(int fd, char *buffer, size_t bytes, int flags)
{
	for (size_t have = 0; have < bytes;) {
		ssize_t got = recv(fd, buffer + have, bytes - have, flags);

		if (got == 0)
			return 0;
		if (got > 0)
			have += (size_t)got;
		else if (errno == EAGAIN)
			measure_pause();
		else if (errno != EINTR)
			fail("recv");
	}
	return 1;
}

static inline void send_all(int fd, const char *buffer, size_t bytes)
{
	for (size_t sent = 0; sent < bytes;) {
		ssize_t put = send(fd, buffer + sent, bytes - sent, MSG_NOSIGNAL);

		if (put >= 0)
			sent += (size_t)put;
		else if (errno != EINTR)
			fail("send");
	}
}

#endif
