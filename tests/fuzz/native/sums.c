#include "sums.h"

#include "frame/bytes.h"
#include "frame/checksum.h"
#include "frame/packet.h"

enum {
	V4_CHECKSUM_AT = 10,
	TCP_CHECKSUM_AT = 16,
	UDP_CHECKSUM_AT = 6,
	UDP_LENGTH_AT = 4,
	ICMP_CHECKSUM_AT = 2
};

static void put_v4(uint8_t *packet, size_t bytes)
{
	size_t header = (size_t)(packet[0] & 0xf) * 4;

	if (header < PACKET_IPV4_BYTES || header > bytes)
		return;
	bytes_put16(packet + V4_CHECKSUM_AT, 0);
	bytes_put16(packet + V4_CHECKSUM_AT, checksum_finish(checksum_add(0, packet, header)));
}

static uint32_t place_of(uint8_t protocol)
{
	switch (protocol) {
	case PROTOCOL_TCP:
		return TCP_CHECKSUM_AT;
	case PROTOCOL_UDP:
		return UDP_CHECKSUM_AT;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		return ICMP_CHECKSUM_AT;
	default:
		return 0;
	}
}

/* Bytes that the checksum is over: UDP says so itself. */
static uint32_t covered(const uint8_t *from, const struct packet *packet)
{
	uint32_t said = packet->protocol == PROTOCOL_UDP ? bytes_get16(from + UDP_LENGTH_AT) : packet->payload_bytes;

	return said < packet->payload_bytes ? said : packet->payload_bytes;
}

static void put_transport(uint8_t *from, const struct packet *packet)
{
	uint32_t at = place_of(packet->protocol), bytes;
	uint64_t sum = 0;

	if (!at || packet->payload_bytes < at + 2)
		return;
	bytes = covered(from, packet);
	if (packet->protocol != PROTOCOL_ICMP)
		sum = checksum_pseudo_header(&packet->source, &packet->destination, packet->protocol, bytes);
	bytes_put16(from + at, 0);
	bytes_put16(from + at, checksum_finish(checksum_add(sum, from, bytes)));
}

void sums_put(uint8_t *packet, size_t bytes)
{
	struct packet parsed;

	if (bytes >= PACKET_IPV4_BYTES && packet[0] >> 4 == 4)
		put_v4(packet, bytes);
	if (packet_parse(packet, bytes, &parsed) == DROP_none)
		put_transport(packet + parsed.payload_offset, &parsed);
}
