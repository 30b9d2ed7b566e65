/* What comes from the network: packets that the harness builds, with right checksums, near to what the stack expects. */
#include <string.h>

#include "frame/bytes.h"
#include "frame/datagram.h"
#include "frame/segment.h"
#include "steps.h"
#include "sums.h"
#include "tcp/rules.h"

/* What a segment's `shape` says: where its numbers count from, and what is not as expected. */
enum {
	SHAPE_SEQUENCE_BASE = 3,
	SHAPE_ACK_BASE = 3 << 2,
	SHAPE_ACK_BASE_SHIFT = 2,
	SHAPE_SEQUENCE_OFF = 1 << 4,
	SHAPE_ACK_OFF = 1 << 5,
	SHAPE_WINDOW = 1 << 6,
	SHAPE_OPTIONS = 1 << 7
};

/* And its options. */
enum {
	OPTION_NO_TIMESTAMP = 1 << 0,
	OPTION_TIMESTAMP_OFF = 1 << 1, /* by so much (8 bits); where none were agreed on: there is one */
	OPTION_ECHO_OFF = 1 << 2,
	OPTION_SIZE = 1 << 3,
	OPTION_SCALE = 1 << 4,
	OPTION_MAY_SACK = 1 << 5,
	OPTION_SACKS_SHIFT = 6 /* how many: up to 3 */
};

enum {
	TRANSPORT_AT = PACKET_IPV6_BYTES,
	INTERFACES = 3,
	QUOTED_BYTES = 8
};

/* Lies at its end, so that a byte read too far is seen. */
static uint8_t arriving[CELL_BYTES];

static void hand_in(struct world *world, const uint8_t *packet, size_t bytes, uint32_t interface)
{
	uint8_t *at = arriving + sizeof(arriving) - bytes;
	uint32_t length = (uint32_t)bytes;

	memmove(at, packet, bytes);
	byway_stack_receive(world->stack, at, &length, 1, interface, world->now_ns);
}

/* The header of `packet` in front of the transport's part, which lies at TRANSPORT_AT. */
static void hand_in_behind_header(struct world *world, uint8_t *bytes, const struct packet *packet, uint32_t interface)
{
	size_t header = address_is_ipv4(&packet->destination) ? PACKET_IPV4_BYTES : PACKET_IPV6_BYTES;
	uint8_t *at = bytes + TRANSPORT_AT - header;

	packet_build(at, packet, 1);
	hand_in(world, at, header + packet->payload_bytes, interface);
}

/* -- TCP ------------------------------------------------------------------------------------------------------------------ */

/* The `number`th connection that there is; NULL: there is none. */
static struct tcp *connection(const struct world *world, uint8_t number)
{
	for (uint32_t i = 0; i < WORLD_ENDPOINTS; i++) {
		struct tcp *tcp = tcp_at(world->stack, (number + i) % WORLD_ENDPOINTS);

		if (tcp->end.kind == ENDPOINT_STREAM && tcp->end.table == ENDPOINT_CONNECTED)
			return tcp;
	}
	return NULL;
}

static void read_sacks(struct segment *segment, struct input *input, uint8_t options, uint32_t near)
{
	segment->sack_count = options >> OPTION_SACKS_SHIFT;
	for (uint32_t i = 0; i < segment->sack_count; i++) {
		uint32_t left = near + (uint32_t)(int16_t)input_16(input);

		segment->sacks[i] = (struct segment_sack){left, left + input_16(input)};
	}
	while (segment->sack_count && segment_header_bytes(segment) > SEGMENT_HEADER_BYTES_MAX)
		segment->sack_count--;
}

/* `near`: what the blocks of SACK are near to. */
static void read_options(struct segment *segment, struct input *input, uint32_t near)
{
	uint8_t options = input_8(input);

	if (options & OPTION_NO_TIMESTAMP)
		segment->has_timestamp = 0;
	if (options & OPTION_TIMESTAMP_OFF) {
		segment->has_timestamp = 1;
		segment->timestamp += (uint32_t)(int8_t)input_8(input);
	}
	if (options & OPTION_ECHO_OFF)
		segment->timestamp_echo += (uint32_t)(int8_t)input_8(input);
	if (options & OPTION_SIZE)
		segment->maximum_segment_bytes = input_16(input);
	if (options & OPTION_SCALE) {
		segment->has_window_scale = 1;
		segment->window_scale = input_8(input);
	}
	segment->may_sack = !!(options & OPTION_MAY_SACK);
	read_sacks(segment, input, options, near);
}

/* The payload is what the stream has there. */
static void hand_in_segment(struct world *world, struct packet *packet, struct segment *segment, uint32_t wanted)
{
	uint8_t bytes[CELL_BYTES + WORLD_BYTES_MAX];
	uint32_t header = (uint32_t)segment_header_bytes(segment);

	segment->payload_bytes = tcp_least(wanted, CELL_BYTES - TRANSPORT_AT - header);
	packet->protocol = PROTOCOL_TCP;
	packet->hop_limit = 64;
	packet->payload_bytes = header + segment->payload_bytes;
	memcpy(bytes + TRANSPORT_AT + header, world_stream(segment->sequence + !!(segment->flags & SEGMENT_SYN)),
	       segment->payload_bytes);
	segment_build(bytes + TRANSPORT_AT, packet, segment);
	hand_in_behind_header(world, bytes, packet, 0);
}

/* What the peer of a connection would say now. */
static struct segment expected_segment(const struct world *world, const struct tcp *tcp, uint8_t shape)
{
	const uint32_t sequences[] = {tcp->rcv_nxt, tcp->rcv_adv, tcp->irs, tcp->rcv_nxt + tcp->snd_mss};
	const uint32_t acknowledgements[] = {tcp->snd_nxt, tcp->snd_una, tcp->iss, tcp->snd_una + tcp->snd_mss};

	return (struct segment){
		.source_port = tcp->end.remote_port,
		.destination_port = tcp->end.local_port,
		.sequence = sequences[shape & SHAPE_SEQUENCE_BASE],
		.acknowledgement = acknowledgements[(shape & SHAPE_ACK_BASE) >> SHAPE_ACK_BASE_SHIFT],
		.window = UINT16_MAX,
		.has_timestamp = tcp->has_timestamps,
		.timestamp = tcp->ts_recent,
		.timestamp_echo = emit_clock(world->stack, tcp),
	};
}

static void read_shape(struct segment *segment, struct input *input, uint8_t shape, const struct tcp *tcp)
{
	if (shape & SHAPE_SEQUENCE_OFF)
		segment->sequence += (uint32_t)(int16_t)input_16(input);
	if (shape & SHAPE_ACK_OFF)
		segment->acknowledgement += (uint32_t)(int16_t)input_16(input);
	if (shape & SHAPE_WINDOW)
		segment->window = input_16(input);
	if (segment->flags & SEGMENT_URG)
		segment->urgent = input_16(input);
	if (shape & SHAPE_OPTIONS)
		read_options(segment, input, tcp->snd_una);
}

void step_segment(struct world *world, struct input *input)
{
	const struct tcp *tcp = connection(world, input_8(input));
	uint8_t flags = input_8(input), shape = input_8(input);
	struct segment segment;
	struct packet packet;

	if (!tcp)
		return;
	segment = expected_segment(world, tcp, shape);
	segment.flags = flags;
	read_shape(&segment, input, shape, tcp);
	packet = (struct packet){.source = tcp->end.remote, .destination = tcp->end.local};
	hand_in_segment(world, &packet, &segment, world_size(input_8(input)));
}

void step_stranger(struct world *world, struct input *input)
{
	struct segment segment = {.window = UINT16_MAX};
	struct packet packet;

	packet.destination = *world_address(input_8(input));
	segment.destination_port = (uint16_t)world_port(input_8(input));
	packet.source = *world_address(input_8(input));
	segment.source_port = (uint16_t)world_port(input_8(input));
	packet.traffic_class = 0;
	segment.flags = input_8(input);
	segment.sequence = input_32(input);
	read_options(&segment, input, 0);
	hand_in_segment(world, &packet, &segment, world_size(input_8(input)));
}

/* -- UDP ------------------------------------------------------------------------------------------------------------------ */

void step_datagram(struct world *world, struct input *input)
{
	uint8_t bytes[CELL_BYTES + WORLD_BYTES_MAX];
	struct packet packet = {.protocol = PROTOCOL_UDP, .hop_limit = 64};
	struct datagram datagram;
	uint32_t interface;

	packet.destination = *world_address(input_8(input));
	datagram.destination_port = (uint16_t)world_port(input_8(input));
	packet.source = *world_address(input_8(input));
	datagram.source_port = (uint16_t)world_port(input_8(input));
	interface = input_8(input) % INTERFACES;
	datagram.payload_bytes = tcp_least(world_size(input_8(input)), CELL_BYTES - TRANSPORT_AT - DATAGRAM_HEADER_BYTES);
	packet.payload_bytes = DATAGRAM_HEADER_BYTES + datagram.payload_bytes;
	memcpy(bytes + TRANSPORT_AT + DATAGRAM_HEADER_BYTES, world_stream(0), datagram.payload_bytes);
	datagram_build(bytes + TRANSPORT_AT, &packet, &datagram);
	hand_in_behind_header(world, bytes, &packet, interface);
}

/* -- ICMP ----------------------------------------------------------------------------------------------------------------- */

enum {
	ICMP_HEADER_BYTES = 8,
	ICMP_MTU_AT_V4 = 6,
	ICMP_MTU_AT_V6 = 4,
	TYPES = 4
};
static const uint8_t types[2][TYPES] = {{3, 11, 12, 4}, {1, 2, 3, 4}}; /* IPv4's, IPv6's */

/* The header and first bytes of a packet that `end` may have sent; how many. */
static size_t write_quote(uint8_t *to, const struct endpoint *end, uint32_t sequence)
{
	struct packet packet = {
		.source = end->local,
		.destination = end->remote,
		.protocol = end->protocol,
		.hop_limit = 1,
		.payload_bytes = QUOTED_BYTES,
	};
	size_t header = packet_build(to, &packet, 2);

	bytes_put16(to + header, end->local_port);
	bytes_put16(to + header + 2, end->remote_port);
	bytes_put32(to + header + 4, sequence);
	return header + QUOTED_BYTES;
}

static size_t write_error(uint8_t *to, struct input *input, const struct endpoint *end, uint32_t sequence)
{
	int is_v6 = !address_is_ipv4(&end->local);
	uint16_t mtu;

	memset(to, 0, ICMP_HEADER_BYTES);
	to[0] = types[is_v6][input_8(input) % TYPES];
	to[1] = input_8(input);
	mtu = input_16(input);
	bytes_put16(to + (is_v6 ? ICMP_MTU_AT_V6 + 2 : ICMP_MTU_AT_V4), mtu);
	sequence += (uint32_t)(int16_t)input_16(input);
	return ICMP_HEADER_BYTES + write_quote(to + ICMP_HEADER_BYTES, end, sequence);
}

void step_error(struct world *world, struct input *input)
{
	const struct tcp *tcp = tcp_at(world->stack, input_8(input) % WORLD_ENDPOINTS);
	int is_v4 = address_is_ipv4(&tcp->end.local);
	uint8_t bytes[CELL_BYTES];
	struct packet packet = {.source = *world_address(is_v4 ? 6 : 7), .destination = tcp->end.local, .hop_limit = 64};
	size_t header = is_v4 ? PACKET_IPV4_BYTES : PACKET_IPV6_BYTES;

	if (tcp->end.kind == ENDPOINT_FREE)
		return;
	packet.protocol = is_v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	packet.payload_bytes =
		(uint32_t)write_error(bytes + header, input, &tcp->end, tcp->end.kind == ENDPOINT_STREAM ? tcp->snd_una : 0);
	packet_build(bytes, &packet, 3);
	sums_put(bytes, header + packet.payload_bytes);
	hand_in(world, bytes, header + packet.payload_bytes, 0);
}

/* -- anything ------------------------------------------------------------------------------------------------------------- */

void step_raw(struct world *world, struct input *input)
{
	int has_sums = input_8(input) & 1;
	size_t bytes;
	const uint8_t *from = input_bytes(input, input_8(input), &bytes);
	uint8_t packet[UINT8_MAX];

	world->is_tainted = 1;
	memcpy(packet, from, bytes);
	if (has_sums)
		sums_put(packet, bytes);
	hand_in(world, packet, bytes, 0);
}
