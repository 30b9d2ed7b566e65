/* One connection, one direction, as fast as it goes: `send`s of a given size for a given time.
 *
 * Large sends show bandwidth, 64-byte sends show messages a second. With `default` the
 * kernel puts small sends together (Nagle); with `nodelay` each leaves at once, as programs want that send messages.
 * The clock stops when the server has read everything: the client ends its direction, the server then closes,
 * and the client waits for that. */
#include "sockets.h"

#define SEND_BYTES_MAX (1 << 20)
#define RECEIVE_BYTES (128 << 10)

/* A stream is moving, and in its usual way of moving, before the clock starts. */
#define WARM_UP_SECONDS 0.1

static char buffer[SEND_BYTES_MAX];

static void serve(int port)
{
	int listener = tcp_listen(port);

	for (;;) {
		int fd = tcp_accept(listener);

		/* The first message is answered: by the second turn Byway knows that the connection is worth attaching. */
		if (receive_all(fd, buffer, MESSAGE_BYTES, 0))
			send_all(fd, buffer, MESSAGE_BYTES);
		while (recv(fd, buffer, RECEIVE_BYTES, 0) > 0)
			;
		close(fd);
	}
}

static void say_hello(int fd)
{
	send_all(fd, buffer, MESSAGE_BYTES);
	if (!receive_all(fd, buffer, MESSAGE_BYTES, 0))
		fail("hello");
}

/* Sends for `seconds` and returns how many sends that were. Looks at the clock once in 64 sends. */
static uint64_t stream(int fd, size_t send_bytes, double seconds)
{
	uint64_t start_ns = measure_ns(), sends = 0;

	while (sends % 64 || (double)(measure_ns() - start_ns) < seconds * 1e9) {
		send_all(fd, buffer, send_bytes);
		sends++;
	}
	return sends;
}

static void measure(int port, size_t send_bytes, int nodelay, double seconds)
{
	int fd = tcp_connect(port);
	uint64_t start_ns, sends;
	double elapsed;

	if (nodelay)
		no_delay(fd);
	say_hello(fd);
	stream(fd, send_bytes, WARM_UP_SECONDS);
	start_ns = measure_ns();
	sends = stream(fd, send_bytes, seconds);
	shutdown(fd, SHUT_WR);
	if (recv(fd, buffer, 1, 0) != 0)
		fail("end");
	elapsed = (double)(measure_ns() - start_ns) / 1e9;
	close(fd);
	printf("{\"sends\": %llu, \"send_bytes\": %zu, \"seconds\": %.6f}\n", (unsigned long long)sends, send_bytes,
	       elapsed);
}

int main(int argc, char **argv)
{
	size_t send_bytes = argc == 6 ? strtoul(argv[3], NULL, 10) : 1;

	if (argc == 3 && !strcmp(argv[1], "server"))
		serve(atoi(argv[2]));
	else if (argc == 6 && !strcmp(argv[1], "client") && send_bytes > 0 && send_bytes <= SEND_BYTES_MAX)
		measure(atoi(argv[2]), send_bytes, !strcmp(argv[4], "nodelay"), atof(argv[5]));
	else
		usage("tcp_stream server PORT, or tcp_stream client PORT SEND_BYTES default|nodelay SECONDS");
	return 0;
}
