/* 64 bytes by TCP from one stack to another and back: two processes, each with a stack of the engine, joined by a `link`.
 *
 * What the engine costs, and no kernel: both ends spin, as bare_pingpong does, each on a processor of its own. */
#define _GNU_SOURCE
#include "measure.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp/tcp.h"
#include "vi/link.h"

#define WARM_UP_ROUNDS 10000
#define PORT 80

/* One end: its stack, its way to the other, its socket. */
struct end {
	struct stack *stack;
	struct vi vi;
	uint32_t socket;
};

static double ns_per_tick;

static void pin(size_t processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		fail("sched_setaffinity");
}

/* The time that the engine is told: of the processor's counter, which both ends read alike. */
static void begin_clock(void)
{
	uint64_t ns = measure_ns(), ticks = measure_ticks();

	usleep(20000);
	ns_per_tick = (double)(measure_ns() - ns) / (double)(measure_ticks() - ticks);
}

static uint64_t now_ns(void)
{
	return (uint64_t)((double)measure_ticks() * ns_per_tick);
}

static void *shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

static void check(int64_t result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
	exit(1);
}

static struct end make_end(void *link, uint32_t side)
{
	struct stack_settings settings = {.endpoints = 64, .cells = 1024, .secret = {{side + 1, 7}}};
	int64_t bytes = byway_stack_bytes(&settings);
	struct end end = {.stack = shared((size_t)bytes)};

	check(byway_stack_make(end.stack, (uint64_t)bytes, &settings, now_ns()), "stack");
	check(byway_link_open(&end.vi, link, side, 0), "link");
	end.socket = (uint32_t)byway_socket_open(end.stack, PROTOCOL_TCP);
	return end;
}

static struct address address_of(uint8_t last)
{
	const uint8_t four[4] = {10, 0, 0, last};

	return address_of_ipv4(four);
}

/* Over the link, both ends in this process: the child inherits the connection. */
static void connect_ends(struct end *client, struct end *server)
{
	struct address here = address_of(1), there = address_of(2);
	uint32_t listener = server->socket;
	int accepted = -1;

	check(byway_socket_bind(server->stack, listener, &there, PORT), "bind");
	check(byway_tcp_listen(server->stack, listener, 1), "listen");
	check(byway_socket_bind(client->stack, client->socket, &here, 40000), "bind");
	check(byway_tcp_connect(client->stack, client->socket, &there, PORT, now_ns()), "connect");
	for (int i = 0; i < 10 && accepted < 0; i++) {
		byway_vi_poll(&client->vi, client->stack, now_ns());
		byway_vi_poll(&server->vi, server->stack, now_ns());
		accepted = byway_tcp_accept(server->stack, listener);
	}
	check(accepted, "accept");
	server->socket = (uint32_t)accepted;
}

static inline void send_message(struct end *end, const char *message)
{
	check(byway_vi_send(&end->vi, end->stack, end->socket, (const uint8_t *)message, MESSAGE_BYTES, 0, now_ns()),
	      "send");
}

static inline void take_message(struct end *end, char *message)
{
	uint32_t done = 0;

	while (done < MESSAGE_BYTES) {
		uint64_t now = now_ns();
		int64_t bytes;

		if (!byway_vi_poll(&end->vi, end->stack, now)) {
			measure_pause();
			continue;
		}
		bytes = byway_tcp_receive(end->stack, end->socket, (uint8_t *)message + done, MESSAGE_BYTES - done, 0, now);
		done += bytes > 0 ? (uint32_t)bytes : 0;
	}
}

static void echo_for_ever(struct end *end, size_t processor)
{
	char message[MESSAGE_BYTES];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(processor);
	for (;;) {
		take_message(end, message);
		send_message(end, message);
	}
}

static void measure(struct end *end, double seconds, struct samples *samples)
{
	char message[MESSAGE_BYTES] = "link";

	for (int i = 0; i < WARM_UP_ROUNDS; i++) {
		send_message(end, message);
		take_message(end, message);
	}
	samples_start(samples);
	for (uint64_t before = measure_ticks(); !samples_done(samples, seconds);) {
		send_message(end, message);
		take_message(end, message);
		uint64_t after = measure_ticks();
		samples_add(samples, after - before);
		before = after;
	}
	samples_end(samples);
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	struct end client, server;
	void *link;
	pid_t child;

	if (argc != 4)
		usage("link_pingpong SECONDS PROCESSOR PROCESSOR");
	begin_clock();
	link = shared(byway_link_bytes());
	byway_link_make(link);
	client = make_end(link, 0);
	server = make_end(link, 1);
	connect_ends(&client, &server);
	child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0)
		echo_for_ever(&server, strtoul(argv[2], NULL, 10));
	pin(strtoul(argv[3], NULL, 10));
	measure(&client, atof(argv[1]), &samples);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	samples_print(&samples);
	return 0;
}
