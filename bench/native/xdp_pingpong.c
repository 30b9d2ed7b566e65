/* 64 bytes by TCP from a stack on one adapter to a stack on another and back; both ends spin. bench/wire.py has made what is named here:
 *
 *   xdp_pingpong client|server SECONDS PROCESSOR MEMORY XDP OWN_MAC PEER_MAC
 *
 * MEMORY: descriptor of the stack's memory, whose cells the XDP socket of descriptor XDP has. Addresses: client 10.77.0.1, server .2. */
#define _GNU_SOURCE
#include "xdp_end.h"

static struct address address_of(uint8_t last)
{
	const uint8_t four[4] = {10, 77, 0, last};

	return address_of_ipv4(four);
}

static struct end open_end(int memory, int xdp, const char *own_mac, const char *peer_mac, uint8_t peer)
{
	struct address address = address_of(peer);
	struct end end = {0};
	uint8_t mac[6];

	end.stack = map_stack(memory);
	read_mac(own_mac, mac);
	check(byway_xdp_open(&end.vi, calloc(1, byway_xdp_bytes()), end.stack, xdp, mac, 0, 1), "xdp");
	read_mac(peer_mac, mac);
	check(byway_xdp_neighbour(&end.vi, end.stack, &address, mac), "neighbour");
	end.socket = (uint32_t)byway_socket_open(end.stack, PROTOCOL_TCP);
	return end;
}

static void serve(struct end *end)
{
	struct address here = address_of(2);
	int accepted;

	check(byway_socket_bind(end->stack, end->socket, &here, PORT), "bind");
	check(byway_tcp_listen(end->stack, end->socket, 8), "listen");
	printf("ready\n");
	fflush(stdout);
	while ((accepted = byway_tcp_accept(end->stack, end->socket)) < 0)
		byway_vi_poll(&end->vi, end->stack, now_ns());
	end->socket = (uint32_t)accepted;
	byway_socket_set(end->stack, end->socket, OPTION_NODELAY, 1, now_ns());
	for (char message[MESSAGE_BYTES];;) {
		take_message(end, message);
		send_message(end, message);
	}
}

static void call(struct end *end)
{
	struct address here = address_of(1), there = address_of(2);

	check(byway_socket_bind(end->stack, end->socket, &here, CLIENT_PORT), "bind");
	check(byway_tcp_connect(end->stack, end->socket, &there, PORT, now_ns()), "connect");
	while (!(byway_socket_ready(end->stack, end->socket) & 4)) /* POLLOUT */
		byway_vi_poll(&end->vi, end->stack, now_ns());
	byway_socket_set(end->stack, end->socket, OPTION_NODELAY, 1, now_ns());
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	int is_client = argc == 8 && !strcmp(argv[1], "client");
	struct end end;

	if (argc != 8)
		usage("xdp_pingpong client|server SECONDS PROCESSOR MEMORY XDP OWN_MAC PEER_MAC");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	begin_clock();
	pin(strtoul(argv[3], NULL, 10));
	end = open_end(atoi(argv[4]), atoi(argv[5]), argv[6], argv[7], is_client ? 2 : 1);
	if (!is_client)
		serve(&end);
	call(&end);
	measure(&end, atof(argv[2]), &samples);
	samples_print(&samples);
	return 0;
}
