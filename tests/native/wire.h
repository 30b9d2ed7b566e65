/* Commands to peer.c, and connections to it. A client sends a command, the peer does it; so a test decides what its peer
 * does and when, without a second program of its own. */
#ifndef BYWAY_TESTS_WIRE_H
#define BYWAY_TESTS_WIRE_H

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum wire_verb {
	WIRE_SEND = 1, /* send `count` bytes, after the delay */
	WIRE_SINK = 2, /* receive and check `count` bytes, then answer one byte */
	WIRE_CLOSE = 3, /* close, after the delay */
	WIRE_RESET = 4, /* close with a reset, after the delay */
	WIRE_SHUTDOWN = 5, /* shutdown(SHUT_WR), after the delay */
	WIRE_STALL = 6, /* do nothing for the delay */
	WIRE_CORK = 7 /* TCP_CORK: `count`, after the delay */
};

struct wire_command {
	uint32_t verb;
	uint32_t count;
	uint32_t delay_ms;
	uint32_t reserved;
};

static inline void wire_fail(const char *what)
{
	printf("failed %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static inline int wire_connect(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	int one = 1, descriptor;

	if (getaddrinfo(host, port, &hints, &found) || !found)
		wire_fail("getaddrinfo");
	descriptor = socket(found->ai_family, SOCK_STREAM, 0);
	if (descriptor < 0 || connect(descriptor, found->ai_addr, found->ai_addrlen))
		wire_fail("connect");
	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	freeaddrinfo(found);
	return descriptor;
}

static inline void wire_send_all(int descriptor, const void *data, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t sent = send(descriptor, (const char *)data + done, bytes - done, MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR)
			wire_fail("send");
		done += sent > 0 ? (size_t)sent : 0;
	}
}

static inline void wire_ask(int descriptor, enum wire_verb verb, uint32_t count, uint32_t delay_ms)
{
	struct wire_command command = {verb, count, delay_ms, 0};

	wire_send_all(descriptor, &command, sizeof(command));
}

static inline void wire_receive_all(int descriptor, void *data, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t got = recv(descriptor, (char *)data + done, bytes - done, 0);
		if (got == 0 || (got < 0 && errno != EINTR))
			wire_fail(got ? "recv" : "recv: early end");
		done += got > 0 ? (size_t)got : 0;
	}
}

/* Turns enough for a connection to be worth attaching. */
static inline void wire_warm(int descriptor)
{
	char answer[16];

	for (int turn = 0; turn < 20; turn++) {
		wire_ask(descriptor, WIRE_SEND, sizeof(answer), 0);
		wire_receive_all(descriptor, answer, sizeof(answer));
	}
}

/* A connection that is on the ring, if both ends can. */
static inline int wire_fresh(const char *host, const char *port)
{
	int descriptor = wire_connect(host, port);

	wire_warm(descriptor);
	return descriptor;
}

#endif
