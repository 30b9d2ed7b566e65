/* Many memcached clients in one program: each connection has one `get` under way, and asks again as soon as it has its
 * answer. One thread, one epoll set, as an asynchronous client library does it. */
#include "sockets.h"

#include <sys/epoll.h>

#define CONNECTIONS_MAX 1000
#define VALUE_BYTES 100
#define WARM_UP_REPLIES 20000

static const char request[] = "get key\r\n";
static char value[VALUE_BYTES + 1], store[VALUE_BYTES + 64], reply[VALUE_BYTES + 64];
static size_t reply_bytes;

struct client {
	int fd;
	size_t have;
	uint64_t asked_ticks;
};

static struct client clients[CONNECTIONS_MAX];

static void ask(struct client *client)
{
	client->have = 0;
	client->asked_ticks = measure_ticks();
	send_all(client->fd, request, sizeof request - 1);
}

/* Reads what has come. 1: the whole answer, and it is right. */
static int take(struct client *client)
{
	char buffer[sizeof reply];
	ssize_t got = recv(client->fd, buffer, sizeof buffer, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0 || client->have + (size_t)got > reply_bytes || memcmp(reply + client->have, buffer, (size_t)got)) {
		fprintf(stderr, "memcached gave a wrong answer, or none\n");
		exit(1);
	}
	client->have += (size_t)got;
	return client->have == reply_bytes;
}

static void store_value(int port)
{
	int fd = tcp_connect(port);
	char answer[8];

	memset(value, 'v', VALUE_BYTES);
	reply_bytes = (size_t)sprintf(reply, "VALUE key 0 %d\r\n%s\r\nEND\r\n", VALUE_BYTES, value);
	send_all(fd, store, (size_t)sprintf(store, "set key 0 0 %d\r\n%s\r\n", VALUE_BYTES, value));
	if (!receive_all(fd, answer, sizeof answer, 0) || memcmp(answer, "STORED\r\n", sizeof answer))
		fail("set");
	close(fd);
}

static int connect_all(int port, int connections)
{
	int set = epoll_create1(0);

	for (int i = 0; i < connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};

		clients[i].fd = tcp_connect(port);
		no_delay(clients[i].fd);
		if (epoll_ctl(set, EPOLL_CTL_ADD, clients[i].fd, &event))
			fail("epoll_ctl");
		ask(&clients[i]);
	}
	return set;
}

/* One wait, and what it brought; with `samples`, each whole answer is one. The number of whole answers. */
static unsigned serve_events(int set, struct samples *samples)
{
	struct epoll_event events[64];
	int count = epoll_wait(set, events, 64, 1000);
	unsigned whole = 0;

	if (count <= 0) {
		fprintf(stderr, "no answer within a second\n");
		exit(1);
	}
	for (int i = 0; i < count; i++) {
		struct client *client = events[i].data.ptr;

		if (!take(client))
			continue;
		whole++;
		if (samples && samples->count < SAMPLES_MAX)
			samples_add(samples, measure_ticks() - client->asked_ticks);
		ask(client);
	}
	return whole;
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	int connections = argc == 4 ? atoi(argv[2]) : 0, set;
	double seconds = argc == 4 ? atof(argv[3]) : 0;

	if (connections < 1 || connections > CONNECTIONS_MAX || seconds <= 0)
		usage("memcached_clients PORT CONNECTIONS SECONDS");
	store_value(atoi(argv[1]));
	set = connect_all(atoi(argv[1]), connections);
	for (unsigned replies = 0; replies < WARM_UP_REPLIES;)
		replies += serve_events(set, NULL);
	samples_start(&samples);
	while ((double)(measure_ns() - samples.first_ns) < seconds * 1e9 && samples.count < SAMPLES_MAX)
		serve_events(set, &samples);
	samples_end(&samples);
	samples_print(&samples);
	return 0;
}
