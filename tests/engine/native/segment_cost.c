/* What it costs to receive and acknowledge 64 bytes that come in order: the receiving side's byway_vi_poll alone is counted, from the
 * link to the stack and with the acknowledgement back to the link. Called by test_cost.py, under callgrind:
 *
 *   segment_cost SEGMENTS    so many come together */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "vi/link.h"

#define ROUNDS 64
#define WARM_UP_ROUNDS 16
#define SEGMENT_BYTES 64
#define PORT 80
#define ROUND_NS 10000
#define OPTION_NODELAY 10 /* csrc/engine/options.def */

struct end {
	struct stack *stack;
	struct vi vi;
	uint32_t socket;
};

static uint64_t now_ns = 1000000000;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void *memory(size_t bytes)
{
	void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);

	if (!memory)
		fail("no memory");
	memset(memory, 0, bytes);
	return memory;
}

static struct end make(void *link, uint32_t side)
{
	struct stack_settings settings = {.endpoints = 64, .cells = 4096, .secret = {{side + 1, 7}}};
	int64_t bytes = byway_stack_bytes(&settings);
	struct end end = {.stack = memory((size_t)bytes)};

	if (byway_stack_make(end.stack, (uint64_t)bytes, &settings, now_ns) || byway_link_open(&end.vi, link, side, 0))
		fail("no stack");
	end.socket = (uint32_t)byway_socket_open(end.stack, PROTOCOL_TCP);
	return end;
}

static void poll(struct end *end)
{
	byway_vi_poll(&end->vi, end->stack, now_ns);
}

static void connect_ends(struct end *client, struct end *server)
{
	const uint8_t one[4] = {10, 0, 0, 1}, other[4] = {10, 0, 0, 2};
	struct address here = address_of_ipv4(one), there = address_of_ipv4(other);
	int accepted = -1;

	if (byway_socket_bind(server->stack, server->socket, &there, PORT) ||
	    byway_tcp_listen(server->stack, server->socket, 1) ||
	    byway_socket_bind(client->stack, client->socket, &here, 40000) ||
	    byway_tcp_connect(client->stack, client->socket, &there, PORT, now_ns))
		fail("no connection");
	for (int i = 0; i < 4 && accepted < 0; i++) {
		poll(client);
		poll(server);
		accepted = byway_tcp_accept(server->stack, server->socket);
	}
	if (accepted < 0)
		fail("nobody accepts");
	server->socket = (uint32_t)accepted;
	byway_socket_set(client->stack, client->socket, OPTION_NODELAY, 1, now_ns);
}

static void send_segments(struct end *end, uint32_t count)
{
	const uint8_t message[SEGMENT_BYTES] = "a segment";

	while (count--)
		if (byway_vi_send(&end->vi, end->stack, end->socket, message, sizeof(message), 0, now_ns) != SEGMENT_BYTES)
			fail("not sent");
}

static void receive_segments(struct end *end, uint32_t count)
{
	static uint8_t to[STACK_BATCH * SEGMENT_BYTES];
	uint32_t bytes = count * SEGMENT_BYTES;

	if (byway_tcp_receive(end->stack, end->socket, to, bytes, 0, now_ns) != bytes)
		fail("not all came");
}

int main(int argc, char **argv)
{
	uint32_t segments = argc == 2 ? (uint32_t)atoi(argv[1]) : 0;
	void *link = memory(byway_link_bytes());
	struct end client, server;

	if (!segments || segments > STACK_BATCH)
		fail("segment_cost SEGMENTS");
	byway_link_make(link);
	client = make(link, 0);
	server = make(link, 1);
	connect_ends(&client, &server);
	for (int round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
		now_ns += ROUND_NS;
		send_segments(&client, segments);
		if (round >= WARM_UP_ROUNDS)
			CALLGRIND_TOGGLE_COLLECT;
		poll(&server);
		if (round >= WARM_UP_ROUNDS)
			CALLGRIND_TOGGLE_COLLECT;
		receive_segments(&server, segments);
		poll(&client);
	}
	printf("%u\n", ROUNDS * segments);
	return 0;
}
