/* Round trips of 64 bytes on one of many connections; the others are idle. Both ends wait in one epoll set that has all.
 *
 * Each connection first makes a few round trips, so that whoever accelerates connections that are used has the chance.
 * The server echoes whatever comes, on any connection. */
#include "sockets.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#define EVENTS_MAX 64
#define FIRST_ROUND_TRIPS 10
#define WARM_UP_ROUNDS 2000

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		fail("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		fail("setrlimit");
}

static void watch(int set, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
}

static void echo(int fd)
{
	char buffer[MESSAGE_BYTES];
	ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);

	if (got > 0)
		send_all(fd, buffer, (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		close(fd);
}

static void serve(int port)
{
	int listener = tcp_listen(port), set = epoll_create1(0);

	watch(set, listener);
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int count = epoll_wait(set, events, EVENTS_MAX, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				fd = tcp_accept(listener);
				no_delay(fd);
				watch(set, fd);
			} else {
				echo(fd);
			}
		}
	}
}

/* Sends on one connection, and waits in the set of all until it is back. */
static void round_trip(int set, int fd)
{
	char message[MESSAGE_BYTES] = "idle";
	struct epoll_event events[EVENTS_MAX];
	size_t have = 0;

	send_all(fd, message, sizeof message);
	while (have < sizeof message) {
		int count = epoll_wait(set, events, EVENTS_MAX, 5000);
		ssize_t got;

		if (count == 0) {
			fprintf(stderr, "no answer within five seconds\n");
			exit(1);
		}
		got = recv(fd, message, sizeof message - have, MSG_DONTWAIT);
		if (got > 0)
			have += (size_t)got;
		else if (got == 0 || (errno != EAGAIN && errno != EINTR))
			fail("recv");
	}
}

static void measure(int port, int connections, double seconds)
{
	struct samples samples = {0};
	int set = epoll_create1(0), fd = -1;

	for (int i = 0; i < connections; i++) {
		fd = tcp_connect(port);
		no_delay(fd);
		watch(set, fd);
		for (int k = 0; k < FIRST_ROUND_TRIPS; k++)
			round_trip(set, fd);
	}
	for (int i = 0; i < WARM_UP_ROUNDS; i++)
		round_trip(set, fd);
	samples_start(&samples);
	for (uint64_t before = measure_ticks(); !samples_done(&samples, seconds);) {
		round_trip(set, fd);
		uint64_t after = measure_ticks();
		samples_add(&samples, after - before);
		before = after;
	}
	samples_end(&samples);
	samples_print(&samples);
}

int main(int argc, char **argv)
{
	raise_descriptor_limit();
	if (argc == 3 && !strcmp(argv[1], "server"))
		serve(atoi(argv[2]));
	else if (argc == 5 && !strcmp(argv[1], "client") && atoi(argv[3]) > 0)
		measure(atoi(argv[2]), atoi(argv[3]), atof(argv[4]));
	else
		usage("tcp_idle server PORT, or tcp_idle client PORT CONNECTIONS SECONDS");
	return 0;
}
