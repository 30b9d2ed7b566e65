/* Many connections between two processes, both directions of each at once, in every manner of sending and receiving.
 *
 * `stress serve HOST` prints "port N" and serves until its input ends; `stress drive HOST PORT SECONDS CONNECTIONS SEED`.
 * Each connection has a sending and a receiving thread at either end. A connection lasts for a random number of bytes, then
 * both ends shut down, compare what came with what the other sent (the length is the first word of a stream), and the driver
 * makes another. Any wrong, missing or further byte ends the program with 1. */
#define _GNU_SOURCE
#include "wire.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <time.h>

#include "position.h"

#define CHUNK_MAX 200000

struct random {
	uint64_t stream;
	uint64_t index;
};

/* One direction at one end. The bytes of a stream: 8 for its length, then the position-coded rest. */
struct half {
	int descriptor;
	uint64_t stream;
	uint64_t total;
	bool closes; /* it half-closes when all is sent; else the first close ends both directions */
	struct random random;
};

static _Atomic uint64_t bytes_done;
static _Atomic uint64_t connections_done;

static uint64_t draw(struct random *random, uint64_t below)
{
	return position_word(random->stream ^ 0x5deece66du, random->index++) % below;
}

static void stop(const char *what, uint64_t stream, uint64_t offset)
{
	printf("wrong: %s, stream %" PRIx64 ", offset %" PRIu64 ", %s\n", what, stream, offset, strerrorname_np(errno));
	fflush(stdout);
	_exit(1);
}

static uint64_t draw_length(struct random *random)
{
	static const uint64_t scales[] = {100, 5000, 100000, 3000000};

	return 8 + draw(random, scales[draw(random, 4)]);
}

static size_t draw_chunk(struct random *random, uint64_t left)
{
	static const uint64_t scales[] = {2, 100, 3000, 70000, CHUNK_MAX};
	uint64_t chunk = 1 + draw(random, scales[draw(random, 5)]);

	return (size_t)(chunk < left ? chunk : left);
}

static void pause_sometimes(struct random *random)
{
	uint64_t kind = draw(random, 200);

	if (kind == 0)
		poll(NULL, 0, 1 + (int)draw(random, 5));
	else if (kind < 4)
		usleep((useconds_t)draw(random, 300));
}

static void wait_for(int descriptor, bool for_read, struct random *random)
{
	struct pollfd entry = {.fd = descriptor, .events = for_read ? POLLIN : POLLOUT};
	struct epoll_event event = {.events = (for_read ? EPOLLIN : EPOLLOUT) | (draw(random, 2) ? EPOLLET : 0)};
	fd_set set;
	int epoll;

	switch (draw(random, descriptor < FD_SETSIZE ? 3 : 2)) {
	case 0:
		poll(&entry, 1, 10000);
		return;
	case 1:
		epoll = epoll_create1(EPOLL_CLOEXEC);
		epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
		epoll_wait(epoll, &event, 1, 10000);
		close(epoll);
		return;
	default:
		FD_ZERO(&set);
		FD_SET(descriptor, &set);
		select(descriptor + 1, for_read ? &set : NULL, for_read ? NULL : &set, NULL, NULL);
	}
}

static ssize_t send_somehow(int descriptor, uint8_t *data, size_t bytes, struct random *random)
{
	size_t cut = bytes > 1 ? draw(random, bytes) : 0;
	struct iovec parts[2] = {{data, cut}, {data + cut, bytes - cut}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	switch (draw(random, 6)) {
	case 0:
		return send(descriptor, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	case 1:
		return sendmsg(descriptor, &message, MSG_NOSIGNAL);
	case 2:
		return writev(descriptor, parts, 2);
	case 3:
		return write(descriptor, data, bytes);
	case 4:
		return send(descriptor, data, bytes, MSG_NOSIGNAL | MSG_MORE);
	default:
		return send(descriptor, data, bytes, MSG_NOSIGNAL);
	}
}

static ssize_t receive_somehow(int descriptor, uint8_t *data, size_t bytes, struct random *random)
{
	size_t cut = bytes > 1 ? draw(random, bytes) : 0;
	struct iovec parts[2] = {{data, cut}, {data + cut, bytes - cut}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	switch (draw(random, 6)) {
	case 0:
		return recv(descriptor, data, bytes, MSG_DONTWAIT);
	case 1:
		return recv(descriptor, data, bytes, MSG_WAITALL);
	case 2:
		return recvmsg(descriptor, &message, 0);
	case 3:
		return readv(descriptor, parts, 2);
	case 4:
		return read(descriptor, data, bytes);
	default:
		return recv(descriptor, data, bytes, 0);
	}
}

static void send_stream(struct half *half)
{
	static __thread uint8_t buffer[CHUNK_MAX + 16];
	uint64_t header = half->total, offset = 0;

	wire_send_all(half->descriptor, &header, 8);
	for (offset = 8; offset < half->total;) {
		size_t bytes = draw_chunk(&half->random, half->total - offset);
		uint8_t *from = position_fill(buffer, half->stream, offset, bytes);
		ssize_t sent = send_somehow(half->descriptor, from, bytes, &half->random);
		if (sent < 0 && errno == EAGAIN)
			wait_for(half->descriptor, false, &half->random);
		else if (sent <= 0 && errno != EINTR)
			stop("send", half->stream, offset);
		offset += sent > 0 ? (uint64_t)sent : 0;
		pause_sometimes(&half->random);
	}
	if (half->closes && shutdown(half->descriptor, SHUT_WR))
		stop("shutdown", half->stream, offset);
}

static void peek_sometimes(struct half *half, uint64_t offset, uint64_t left)
{
	uint8_t data[256];
	ssize_t got;

	if (draw(&half->random, 20) || left < sizeof(data))
		return;
	got = recv(half->descriptor, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
	if (got > 0 && position_mismatch(data, half->stream, offset, (size_t)got) >= 0)
		stop("peek", half->stream, offset);
}

static void receive_stream(struct half *half)
{
	static __thread uint8_t buffer[CHUNK_MAX];
	uint64_t total, offset;
	uint8_t beyond;

	wire_receive_all(half->descriptor, &total, 8);
	for (offset = 8; offset < total;) {
		size_t bytes = draw_chunk(&half->random, total - offset);
		ssize_t got;
		peek_sometimes(half, offset, total - offset);
		got = receive_somehow(half->descriptor, buffer, bytes, &half->random);
		if (got < 0 && errno == EAGAIN)
			wait_for(half->descriptor, true, &half->random);
		else if (got == 0 || (got < 0 && errno != EINTR))
			stop(got ? "recv" : "early end", half->stream, offset);
		if (got > 0 && position_mismatch(buffer, half->stream, offset, (size_t)got) >= 0)
			stop("bytes", half->stream, offset);
		offset += got > 0 ? (uint64_t)got : 0;
		pause_sometimes(&half->random);
	}
	if (half->closes && recv(half->descriptor, &beyond, 1, 0) != 0)
		stop("no end", half->stream, offset);
	bytes_done += total;
}

static void *sending_thread(void *argument)
{
	send_stream(argument);
	return NULL;
}

/* Both ends know without a word. STRESS_HALF_CLOSE=0 or 1 in the environment of both: never, or always. */
static bool half_closes(uint64_t mine, uint64_t theirs)
{
	const char *wish = getenv("STRESS_HALF_CLOSE");

	return wish ? *wish == '1' : ((mine ^ theirs) >> 20 & 1) != 0;
}

/* Both directions of one connection; `mine` and `theirs` are streams. */
static void converse(int descriptor, uint64_t mine, uint64_t theirs)
{
	struct half out = {.descriptor = descriptor, .stream = mine, .random = {mine, 0}};
	struct half in = {.descriptor = descriptor, .stream = theirs, .random = {theirs + 1, 1000}};
	pthread_t thread;
	char turn = 0;

	out.total = draw_length(&out.random);
	out.closes = in.closes = half_closes(mine, theirs);
	for (int turns = (int)((mine ^ theirs) % 20); turns > 0; turns--) {
		wire_send_all(descriptor, &turn, 1);
		wire_receive_all(descriptor, &turn, 1);
	}
	if (pthread_create(&thread, NULL, sending_thread, &out))
		stop("thread", mine, 0);
	receive_stream(&in);
	pthread_join(thread, NULL);
	close(descriptor);
	connections_done++;
}

static void *serve_one(void *argument)
{
	int descriptor = (int)(intptr_t)argument;
	uint64_t streams[2];

	wire_receive_all(descriptor, streams, sizeof(streams));
	converse(descriptor, streams[1], streams[0]);
	return NULL;
}

static void serve(const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE}, *found = NULL;
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);
	struct pollfd entries[2] = {{.events = POLLIN}, {.events = POLLIN}};
	pthread_t thread;

	if (getaddrinfo(host, "0", &hints, &found))
		wire_fail("getaddrinfo");
	entries[0].fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (bind(entries[0].fd, found->ai_addr, found->ai_addrlen) || listen(entries[0].fd, 512))
		wire_fail("listen");
	getsockname(entries[0].fd, (void *)&address, &bytes);
	printf("port %u\n", ntohs(((struct sockaddr_in *)&address)->sin_port));
	fflush(stdout);
	while (poll(entries, 2, -1) > 0 && !entries[1].revents) {
		int descriptor = accept(entries[0].fd, NULL, NULL);
		if (descriptor >= 0 && pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)descriptor) == 0)
			pthread_detach(thread);
	}
	printf("served %" PRIu64 " connections, %" PRIu64 " bytes\n", (uint64_t)connections_done, (uint64_t)bytes_done);
}

struct driver {
	const char *host;
	const char *port;
	double until;
	uint64_t seed;
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void *drive_one(void *argument)
{
	struct driver *driver = argument;

	for (uint64_t round = 0; now() < driver->until; round++) {
		uint64_t streams[2] = {position_word(driver->seed, 2 * round), position_word(driver->seed, 2 * round + 1)};
		int descriptor = wire_connect(driver->host, driver->port);
		wire_send_all(descriptor, streams, sizeof(streams));
		converse(descriptor, streams[0], streams[1]);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[256];
	struct driver drivers[256];
	int count;

	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]), 0;
	if (argc != 7)
		return 2;
	count = atoi(argv[5]) < 256 ? atoi(argv[5]) : 256;
	for (int index = 0; index < count; index++) {
		drivers[index] = (struct driver){argv[2], argv[3], now() + atof(argv[4]),
		                                 strtoull(argv[6], NULL, 0) * 1000 + (uint64_t)index};
		if (pthread_create(&threads[index], NULL, drive_one, &drivers[index]))
			wire_fail("pthread_create");
	}
	for (int index = 0; index < count; index++)
		pthread_join(threads[index], NULL);
	printf("drove %" PRIu64 " connections, %" PRIu64 " bytes\n", (uint64_t)connections_done, (uint64_t)bytes_done);
	return 0;
}
