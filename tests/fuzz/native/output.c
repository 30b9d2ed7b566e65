/* What leaves the stack: sound packets that are not too large, and the right bytes in them. */
#include <string.h>

#include "frame/datagram.h"
#include "frame/segment.h"
#include "world.h"

enum {
	TAKEN_MAX = 256 /* by one step: a stack that talks to itself need not come to an end */
};

static void judge_segment(const struct world *world, const uint8_t *from, const struct packet *packet)
{
	struct segment segment;

	must(segment_parse(from, packet, 0, &segment) == DROP_none, "a segment that leaves is sound");
	if (segment.payload_bytes && !world->is_tainted)
		must(!memcmp(from + segment.payload_offset, world_stream(segment.sequence), segment.payload_bytes),
		     "a segment has the bytes of its sequence numbers");
}

static void judge_datagram(const uint8_t *from, const struct packet *packet)
{
	struct datagram datagram;

	must(datagram_parse(from, packet, 0, &datagram) == DROP_none, "a datagram that leaves is sound");
}

static void judge(const struct world *world, const uint8_t *from, uint32_t bytes)
{
	struct packet packet;

	must(bytes <= world->stack->settings.mtu, "a packet that leaves is not too large");
	must(packet_parse(from, bytes, &packet) == DROP_none, "a packet that leaves is sound");
	if (packet.protocol == PROTOCOL_TCP)
		judge_segment(world, from + packet.payload_offset, &packet);
	else
		judge_datagram(from + packet.payload_offset, &packet);
}

void output_take(struct world *world, uint32_t most, int is_loop)
{
	static uint8_t packets[TAKEN_MAX * CELL_BYTES];
	uint32_t lengths[TAKEN_MAX], count = 0, interface = 0;
	uint8_t *to = packets;
	int bytes;

	if (!most || most > TAKEN_MAX)
		most = TAKEN_MAX;
	while (count < most && (bytes = byway_stack_transmit(world->stack, to, CELL_BYTES, &interface)) > 0) {
		judge(world, to, (uint32_t)bytes);
		to += lengths[count++] = (uint32_t)bytes;
	}
	if (is_loop)
		byway_stack_receive(world->stack, packets, lengths, count, interface, world->now_ns);
}
