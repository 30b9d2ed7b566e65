/* A new connection for each request: connect, 64 bytes there, 64 bytes back, the server closes, the client closes.
 * A sample is the whole of that. */
#include "sockets.h"

#define WARM_UP_CONNECTIONS 200

static void serve(int port)
{
	char message[MESSAGE_BYTES];
	int listener = tcp_listen(port);

	for (;;) {
		int fd = tcp_accept(listener);

		if (receive_all(fd, message, sizeof message, 0))
			send_all(fd, message, sizeof message);
		close(fd);
	}
}

static void request(int port)
{
	char message[MESSAGE_BYTES] = "request";
	int fd = tcp_connect(port);

	send_all(fd, message, sizeof message);
	if (!receive_all(fd, message, sizeof message, 0) || recv(fd, message, 1, 0) != 0) {
		fprintf(stderr, "not the reply and the end that were expected\n");
		exit(1);
	}
	close(fd);
}

static void measure(int port, double seconds)
{
	struct samples samples = {0};

	for (int i = 0; i < WARM_UP_CONNECTIONS; i++)
		request(port);
	samples_start(&samples);
	for (uint64_t before = measure_ticks(); !samples_done(&samples, seconds);) {
		request(port);
		uint64_t after = measure_ticks();
		samples_add(&samples, after - before);
		before = after;
	}
	samples_end(&samples);
	samples_print(&samples);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "server"))
		serve(atoi(argv[2]));
	else if (argc == 4 && !strcmp(argv[1], "client"))
		measure(atoi(argv[2]), atof(argv[3]));
	else
		usage("tcp_connections server PORT, or tcp_connections client PORT SECONDS");
	return 0;
}
