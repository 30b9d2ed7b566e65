/* The limit over an adapter: a frame of a 64-byte TCP segment to another AF_XDP socket and back, and nothing else: no stack, no
 * checksum, no time. Two processes that spin, each on a processor of its own:
 *
 *   bare_xdp client|server SECONDS PROCESSOR MEMORY XDP OWN_MAC PEER_MAC */
#define _GNU_SOURCE
#include "xdp_end.h"

#include <linux/if_xdp.h>
#include <sys/socket.h>

#define FRAME_BYTES (14 + 20 + 32 + MESSAGE_BYTES)

static struct stack *stack;
static struct vi vi;
static uint8_t own_mac[6], peer_mac[6];

static struct xdp *xdp(void)
{
	return vi.memory;
}

static struct xdp_desc *desc(struct xdp_ring *ring, uint32_t number)
{
	return (struct xdp_desc *)ring->entries + (number & ring->mask);
}

static void kick(void)
{
	if (*xdp()->tx.flags & XDP_RING_NEED_WAKEUP)
		sendto(xdp()->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}

/* The frame that was sent is free again; the one that came is filled anew. */
static void put_back(uint64_t address)
{
	struct xdp_ring *fill = &xdp()->fill;

	((uint64_t *)fill->entries)[*fill->producer & fill->mask] = address / CELL_BYTES * CELL_BYTES;
	store_release(fill->producer, *fill->producer + 1);
}

static void send_frame(uint64_t address)
{
	struct xdp_ring *tx = &xdp()->tx, *completion = &xdp()->completion;

	*desc(tx, *tx->producer) = (struct xdp_desc){.addr = address, .len = FRAME_BYTES};
	store_release(tx->producer, *tx->producer + 1);
	kick();
	while (load_acquire(completion->producer) != *completion->consumer) {
		put_back(((uint64_t *)completion->entries)[*completion->consumer & completion->mask]);
		store_release(completion->consumer, *completion->consumer + 1);
	}
}

/* Where the next frame lies. */
static uint64_t take_frame(void)
{
	struct xdp_ring *rx = &xdp()->rx;
	uint64_t address;

	while (load_acquire(rx->producer) == *rx->consumer)
		measure_pause();
	address = desc(rx, *rx->consumer)->addr;
	store_release(rx->consumer, *rx->consumer + 1);
	return address;
}

static uint8_t *frame_at(uint64_t address)
{
	return (uint8_t *)stack + stack->data_offset + address;
}

/* Headers that the other's filter knows. */
static void write_frame(uint8_t *frame, int is_client)
{
	static const uint8_t packet[40] = {0x45, 0, 0, FRAME_BYTES - 14, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 0, 10,
	                                   77,   0, 0};

	memset(frame, 0, FRAME_BYTES);
	memcpy(frame, peer_mac, 6);
	memcpy(frame + 6, own_mac, 6);
	frame[12] = 8;
	memcpy(frame + 14, packet, sizeof packet);
	frame[14 + 15] = is_client ? 1 : 2;
	frame[14 + 19] = is_client ? 2 : 1;
	frame[34] = is_client ? CLIENT_PORT >> 8 : 0;
	frame[35] = is_client ? CLIENT_PORT & 0xff : PORT;
	frame[36] = is_client ? 0 : CLIENT_PORT >> 8;
	frame[37] = is_client ? PORT : CLIENT_PORT & 0xff;
}

static void open_all(int memory, int fd)
{
	stack = map_stack(memory);
	check(byway_xdp_open(&vi, calloc(1, byway_xdp_bytes()), stack, fd, own_mac, 0, 1), "xdp");
}

static void echo(void)
{
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		uint64_t address = take_frame();

		write_frame(frame_at(address), 0);
		send_frame(address);
	}
}

static uint64_t go_round(uint64_t address)
{
	write_frame(frame_at(address), 1);
	send_frame(address);
	return take_frame();
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	uint64_t address;

	if (argc != 8)
		usage("bare_xdp client|server SECONDS PROCESSOR MEMORY XDP OWN_MAC PEER_MAC");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(strtoul(argv[3], NULL, 10));
	read_mac(argv[6], own_mac);
	read_mac(argv[7], peer_mac);
	open_all(atoi(argv[4]), atoi(argv[5]));
	if (!strcmp(argv[1], "server"))
		echo();
	address = (uint64_t)(stack->cells - 1) * CELL_BYTES; /* of those that nobody was given */
	for (int i = 0; i < WARM_UP_ROUNDS; i++)
		address = go_round(address);
	samples_start(&samples);
	for (uint64_t before = measure_ticks(); !samples_done(&samples, atof(argv[2]));) {
		address = go_round(address);
		uint64_t after = measure_ticks();
		samples_add(&samples, after - before);
		before = after;
	}
	samples_end(&samples);
	samples_print(&samples);
	return 0;
}
