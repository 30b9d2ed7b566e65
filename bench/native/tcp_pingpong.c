/* 64 bytes to a server and back over TCP: the round trip, one at a time.
 *
 * `blocking` sleeps in recv(); `spin` calls a non-blocking recv() until something is there. With REST_US the client rests
 * so long before each round trip. The server serves one connection after the other until it is ended. */
#include "sockets.h"

#define WARM_UP_ROUNDS 2000
#define WARM_UP_ROUNDS_RESTED 50

static void serve(int port, int flags)
{
	char message[MESSAGE_BYTES];
	int listener = tcp_listen(port);

	for (;;) {
		int fd = tcp_accept(listener);

		no_delay(fd);
		while (receive_all(fd, message, sizeof message, flags))
			send_all(fd, message, sizeof message);
		close(fd);
	}
}

static void round_trip(int fd, char *message, int flags)
{
	send_all(fd, message, MESSAGE_BYTES);
	if (!receive_all(fd, message, MESSAGE_BYTES, flags)) {
		fprintf(stderr, "the server closed the connection\n");
		exit(1);
	}
}

static void pause_us(unsigned us)
{
	struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&time, NULL);
}

static void measure(int port, int flags, double seconds)
{
	char message[MESSAGE_BYTES] = "sockets";
	struct samples samples = {0};
	int fd = tcp_connect(port);

	no_delay(fd);
	for (int i = 0; i < WARM_UP_ROUNDS; i++)
		round_trip(fd, message, flags);
	samples_start(&samples);
	for (uint64_t before = measure_ticks(); !samples_done(&samples, seconds);) {
		round_trip(fd, message, flags);
		uint64_t after = measure_ticks();
		samples_add(&samples, after - before);
		before = after;
	}
	samples_end(&samples);
	close(fd);
	samples_print(&samples);
}

/* Both ends are asleep when a round trip begins; the rest is not in the figure. */
static void measure_rested(int port, int flags, double seconds, unsigned rest_us)
{
	char message[MESSAGE_BYTES] = "sockets";
	struct samples samples = {0};
	int fd = tcp_connect(port);

	no_delay(fd);
	for (int i = 0; i < WARM_UP_ROUNDS_RESTED; i++) {
		pause_us(rest_us);
		round_trip(fd, message, flags);
	}
	samples_start(&samples);
	while (samples_seconds(&samples) < seconds) {
		pause_us(rest_us);
		uint64_t before = measure_ticks();
		round_trip(fd, message, flags);
		samples_add(&samples, measure_ticks() - before);
	}
	samples_end(&samples);
	close(fd);
	samples_print(&samples);
}

int main(int argc, char **argv)
{
	int flags = argc > 3 && !strcmp(argv[3], "spin") ? MSG_DONTWAIT : 0;

	if (argc == 4 && !strcmp(argv[1], "server"))
		serve(atoi(argv[2]), flags);
	else if (argc == 5 && !strcmp(argv[1], "client"))
		measure(atoi(argv[2]), flags, atof(argv[4]));
	else if (argc == 6 && !strcmp(argv[1], "client"))
		measure_rested(atoi(argv[2]), flags, atof(argv[4]), (unsigned)atoi(argv[5]));
	else
		usage("tcp_pingpong server PORT blocking|spin, or tcp_pingpong client PORT blocking|spin SECONDS [REST_US]");
	return 0;
}
