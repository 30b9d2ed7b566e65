/* 64 bytes by TCP from one stack to another and back: two processes, each with a stack of the engine, joined by a `link`.
 *
 * What the engine costs, and no kernel: both ends spin, as bare_pingpong does, each on a processor of its own. */
#define _GNU_SOURCE
#include "engine_end.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "vi/link.h"

static void *shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
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
	check(byway_socket_bind(client->stack, client->socket, &here, CLIENT_PORT), "bind");
	check(byway_tcp_connect(client->stack, client->socket, &there, PORT, now_ns()), "connect");
	for (int i = 0; i < 10 && accepted < 0; i++) {
		byway_vi_poll(&client->vi, client->stack, now_ns());
		byway_vi_poll(&server->vi, server->stack, now_ns());
		accepted = byway_tcp_accept(server->stack, listener);
	}
	check(accepted, "accept");
	server->socket = (uint32_t)accepted;
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
