/* csrc/frame by itself: a packet in hexadecimal a line on stdin, what was read of it as JSON a line on stdout. What could be
 * read is also built again from that alone: "built". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame/datagram.h"
#include "frame/icmp.h"
#include "frame/packet.h"
#include "frame/segment.h"

static const char *const drop_names[] = {
#define DROP(code, name, text) [code] = #name,
#include "frame/drops.def"
#undef DROP
};

static void print_address(const char *name, const struct address *address)
{
	printf(", \"%s\": \"", name);
	for (size_t i = 0; i < sizeof(address->bytes); i++)
		printf("%02x", address->bytes[i]);
	putchar('"');
}

static void print_built(const uint8_t *from, size_t bytes)
{
	printf(", \"built\": \"");
	for (size_t i = 0; i < bytes; i++)
		printf("%02x", from[i]);
	putchar('"');
}

static void print_segment(const struct segment *one)
{
	printf(", \"source_port\": %u, \"destination_port\": %u, \"sequence\": %u, \"acknowledgement\": %u, \"flags\": %u",
	       one->source_port, one->destination_port, one->sequence, one->acknowledgement, one->flags);
	printf(", \"window\": %u, \"urgent\": %u, \"payload\": %u", one->window, one->urgent, one->payload_bytes);
	printf(", \"mss\": %u, \"may_sack\": %u", one->maximum_segment_bytes, one->may_sack);
	if (one->has_window_scale)
		printf(", \"window_scale\": %u", one->window_scale);
	if (one->has_timestamp)
		printf(", \"timestamp\": [%u, %u]", one->timestamp, one->timestamp_echo);
	printf(", \"sacks\": [");
	for (uint32_t i = 0; i < one->sack_count; i++)
		printf("%s[%u, %u]", i ? ", " : "", one->sacks[i].left, one->sacks[i].right);
	putchar(']');
}

/* With the payload of `from` behind a header of its own making. */
static void build_segment(const uint8_t *from, struct packet packet, const struct segment *segment)
{
	static uint8_t built[1 << 17];
	uint8_t header[PACKET_IPV6_BYTES];
	size_t tcp = segment_header_bytes(segment), ip;

	packet.payload_bytes = (uint32_t)tcp + segment->payload_bytes;
	ip = packet_build(header, &packet, 0);
	memcpy(built, header, ip);
	memcpy(built + ip + tcp, from + packet.payload_offset + segment->payload_offset, segment->payload_bytes);
	segment_build(built + ip, &packet, segment);
	print_built(built, ip + packet.payload_bytes);
}

static enum drop read_segment(const uint8_t *from, const struct packet *packet)
{
	struct segment segment;
	enum drop drop = segment_parse(from + packet->payload_offset, packet, 0, &segment);

	if (drop)
		return drop;
	print_segment(&segment);
	build_segment(from, *packet, &segment);
	return drop;
}

static enum drop read_datagram(const uint8_t *from, struct packet packet)
{
	static uint8_t built[1 << 17];
	struct datagram datagram;
	enum drop drop = datagram_parse(from + packet.payload_offset, &packet, 0, &datagram);
	size_t ip;

	if (drop)
		return drop;
	printf(", \"source_port\": %u, \"destination_port\": %u, \"payload\": %u", datagram.source_port,
	       datagram.destination_port, datagram.payload_bytes);
	packet.payload_bytes = DATAGRAM_HEADER_BYTES + datagram.payload_bytes;
	ip = packet_build(built, &packet, 0);
	memcpy(built + ip + DATAGRAM_HEADER_BYTES, from + packet.payload_offset + DATAGRAM_HEADER_BYTES,
	       datagram.payload_bytes);
	datagram_build(built + ip, &packet, &datagram);
	print_built(built, ip + packet.payload_bytes);
	return drop;
}

static enum drop read_icmp(const uint8_t *from, const struct packet *packet)
{
	static const char *const kinds[] = {"other", "too big", "hard", "soft"};
	struct icmp_error error;
	enum drop drop = icmp_parse(from + packet->payload_offset, packet, &error);

	if (drop)
		return drop;
	printf(", \"kind\": \"%s\", \"mtu\": %u, \"quoted_protocol\": %u", kinds[error.kind], error.next_hop_mtu,
	       error.protocol);
	printf(", \"source_port\": %u, \"destination_port\": %u, \"sequence\": %u", error.source_port,
	       error.destination_port, error.sequence);
	print_address("quoted_source", &error.source);
	print_address("quoted_destination", &error.destination);
	return drop;
}

static enum drop read_packet(const uint8_t *from, size_t bytes)
{
	struct packet packet;
	enum drop drop = packet_parse(from, bytes, &packet);

	if (drop)
		return drop;
	print_address("source", &packet.source);
	print_address("destination", &packet.destination);
	printf(", \"protocol\": %u, \"hop_limit\": %u, \"traffic_class\": %u, \"has_options\": %u", packet.protocol,
	       packet.hop_limit, packet.traffic_class, packet.has_options);
	switch (packet.protocol) {
	case PROTOCOL_TCP:
		return read_segment(from, &packet);
	case PROTOCOL_UDP:
		return read_datagram(from, packet);
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		return read_icmp(from, &packet);
	default:
		return drop;
	}
}

int main(void)
{
	static char line[1 << 18];

	while (fgets(line, sizeof(line), stdin)) {
		size_t bytes = strcspn(line, "\n") / 2;
		uint8_t *packet = malloc(bytes ? bytes : 1); /* of exactly this size: a sanitizer sees what reads behind it */
		enum drop drop;

		for (size_t i = 0; i < bytes; i++) {
			char digits[3] = {line[2 * i], line[2 * i + 1], 0};

			packet[i] = (uint8_t)strtoul(digits, NULL, 16);
		}
		printf("{\"length\": %zu", bytes);
		drop = read_packet(packet, bytes);
		printf(", \"drop\": \"%s\"}\n", drop_names[drop]);
		fflush(stdout);
		free(packet);
	}
	return 0;
}
