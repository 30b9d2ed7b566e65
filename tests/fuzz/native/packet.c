/* A packet as anybody may send it: read, and what it carries with it. First byte: whether checksums are put right. */
#include <string.h>

#include "frame/datagram.h"
#include "frame/icmp.h"
#include "frame/segment.h"
#include "fuzz.h"
#include "sums.h"

/* Exactly so large, so that a byte read too far is seen. */
static uint8_t *copy_of(const uint8_t *from, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);

	must(copy != NULL, "there is memory");
	if (bytes)
		memcpy(copy, from, bytes);
	return copy;
}

static void read_segment(const uint8_t *from, const struct packet *packet, int is_checked)
{
	struct segment segment;

	if (segment_parse(from, packet, is_checked, &segment) != DROP_none)
		return;
	must(segment.payload_offset >= SEGMENT_HEADER_BYTES && segment.payload_offset <= SEGMENT_HEADER_BYTES_MAX,
	     "a segment's header is as long as one can be");
	must(segment.payload_offset + segment.payload_bytes == packet->payload_bytes, "a segment is the packet's payload");
	must(segment.sack_count <= SEGMENT_SACKS_MAX && segment.window_scale <= 14, "options are in their range");
}

static void read_datagram(const uint8_t *from, const struct packet *packet, int is_checked)
{
	struct datagram datagram;

	if (datagram_parse(from, packet, is_checked, &datagram) == DROP_none)
		must(datagram.payload_bytes + DATAGRAM_HEADER_BYTES <= packet->payload_bytes,
		     "a datagram lies inside its packet");
}

static void read_error(const uint8_t *from, const struct packet *packet)
{
	struct icmp_error error;

	if (icmp_parse(from, packet, &error) == DROP_none)
		must(error.kind <= ICMP_SOFT, "an error is of a kind that there is");
}

static void read_payload(const uint8_t *payload, const struct packet *packet, int is_checked)
{
	uint8_t *from = copy_of(payload, packet->payload_bytes);

	if (packet->protocol == PROTOCOL_TCP)
		read_segment(from, packet, is_checked);
	else if (packet->protocol == PROTOCOL_UDP)
		read_datagram(from, packet, is_checked);
	else if (packet->protocol == PROTOCOL_ICMP || packet->protocol == PROTOCOL_ICMPV6)
		read_error(from, packet);
	free(from);
}

static void read_packet(const uint8_t *from, size_t bytes, int is_quoted)
{
	struct packet packet;
	enum drop drop = is_quoted ? packet_parse_quoted(from, bytes, &packet) : packet_parse(from, bytes, &packet);

	must(drop < DROP_COUNT, "there is such a reason");
	if (drop != DROP_none)
		return;
	must(packet.payload_offset >= PACKET_IPV4_BYTES, "the payload lies behind the header");
	must((size_t)packet.payload_offset + packet.payload_bytes <= bytes, "the payload lies inside the packet");
	read_payload(from + packet.payload_offset, &packet, 0);
	read_payload(from + packet.payload_offset, &packet, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input input = {data, data + bytes};
	int has_sums = input_8(&input) & 1;
	uint8_t *packet = copy_of(input.at, input_left(&input));

	if (has_sums)
		sums_put(packet, input_left(&input));
	read_packet(packet, input_left(&input), 0);
	read_packet(packet, input_left(&input), 1);
	free(packet);
	return 0;
}
