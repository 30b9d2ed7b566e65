/* RFC 791 (3.1), RFC 1122 (3.2.1) and RFC 8200 (3, 4). A fragment is never taken: who sends to us is asked for smaller packets by
 * path MTU discovery, and the kernel puts together what comes all the same. */
#include "frame/packet.h"

#include "frame/bytes.h"
#include "frame/checksum.h"
#include "frame/header.h"

#define EXTENSIONS_MAX 8

/* RFC 8200, 4.1 */
enum {
	NEXT_HOP_BY_HOP = 0,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_DESTINATION = 60
};

/* RFC 1122, 3.2.1.3 and RFC 4291, 2.5.2 and 2.7: no packet has such a source. */
static int source_is_impossible(const struct address *source)
{
	return address_is_multicast(source) || address_is_broadcast(source) || address_is_unspecified(source);
}

static enum drop parse_v4(const uint8_t *from, size_t bytes, int is_quoted, struct packet *packet)
{
	size_t header = (size_t)(from[0] & 0xf) * 4;
	uint32_t length;

	if (bytes < PACKET_IPV4_BYTES || bytes < header)
		return DROP_short_frame;
	length = bytes_get16(from + V4_LENGTH);
	if (header < PACKET_IPV4_BYTES || length < header)
		return DROP_bad_header;
	if (length > bytes && !is_quoted)
		return DROP_short_frame;
	if (length > bytes)
		length = (uint32_t)bytes;
	if (!is_quoted && checksum_finish(checksum_add(0, from, header)))
		return DROP_bad_ip_checksum;
	if (bytes_get16(from + V4_FRAGMENT) & V4_IS_FRAGMENT)
		return DROP_fragment;
	packet->source = address_of_ipv4(from + V4_SOURCE);
	packet->destination = address_of_ipv4(from + V4_DESTINATION);
	packet->payload_offset = (uint32_t)header;
	packet->payload_bytes = length - (uint32_t)header;
	packet->protocol = from[V4_PROTOCOL];
	packet->hop_limit = from[V4_TTL];
	packet->traffic_class = from[V4_TOS];
	packet->has_options = header > PACKET_IPV4_BYTES;
	return !is_quoted && source_is_impossible(&packet->source) ? DROP_bad_address : DROP_none;
}

/* An address in ::ffff:0:0/96 on the wire would be taken for an IPv4 one (RFC 4942, 2.2). */
static int is_mapped(const struct packet *packet)
{
	return address_is_ipv4(&packet->source) || address_is_ipv4(&packet->destination);
}

/* RFC 8200, 4: over the extension headers, to what they carry. `end`: of the packet. */
static enum drop skip_extensions(const uint8_t *from, size_t end, struct packet *packet)
{
	size_t at = PACKET_IPV6_BYTES;
	uint8_t next = from[V6_NEXT];

	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		if (next == NEXT_FRAGMENT)
			return DROP_fragment;
		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_DESTINATION) {
			packet->protocol = next;
			packet->payload_offset = (uint32_t)at;
			packet->payload_bytes = (uint32_t)(end - at);
			packet->has_options = i > 0;
			return DROP_none;
		}
		if (end - at < 8 || end - at < 8 * (1 + (size_t)from[at + 1]))
			return DROP_bad_header;
		if (next == NEXT_ROUTING && from[at + 3]) /* segments left: it is for another node (RFC 8200, 4.4; RFC 5095) */
			return DROP_unknown_header;
		next = from[at];
		at += 8 * (1 + (size_t)from[at + 1]);
	}
	return DROP_unknown_header;
}

static enum drop parse_v6(const uint8_t *from, size_t bytes, int is_quoted, struct packet *packet)
{
	size_t end;

	if (bytes < PACKET_IPV6_BYTES)
		return DROP_short_frame;
	end = PACKET_IPV6_BYTES + (size_t)bytes_get16(from + V6_LENGTH);
	if (end > bytes && !is_quoted)
		return DROP_short_frame;
	if (end > bytes)
		end = bytes;
	packet->source = address_of_ipv6(from + V6_SOURCE);
	packet->destination = address_of_ipv6(from + V6_DESTINATION);
	packet->hop_limit = from[V6_HOP_LIMIT];
	packet->traffic_class = (uint8_t)(from[0] << 4 | from[1] >> 4);
	if (is_mapped(packet) || (!is_quoted && source_is_impossible(&packet->source)))
		return DROP_bad_address;
	return skip_extensions(from, end, packet);
}

static enum drop parse(const uint8_t *from, size_t bytes, int is_quoted, struct packet *packet)
{
	if (!bytes)
		return DROP_short_frame;
	switch (from[0] >> 4) {
	case 4:
		return parse_v4(from, bytes, is_quoted, packet);
	case 6:
		return parse_v6(from, bytes, is_quoted, packet);
	default:
		return DROP_not_ip;
	}
}

enum drop packet_parse(const uint8_t *from, size_t bytes, struct packet *packet)
{
	return parse(from, bytes, 0, packet);
}

enum drop packet_parse_quoted(const uint8_t *from, size_t bytes, struct packet *packet)
{
	return parse(from, bytes, 1, packet);
}

static size_t build_v4(uint8_t *to, const struct packet *packet, uint16_t identification)
{
	to[0] = 4 << 4 | PACKET_IPV4_BYTES / 4;
	to[V4_TOS] = packet->traffic_class;
	bytes_put16(to + V4_LENGTH, PACKET_IPV4_BYTES + packet->payload_bytes);
	bytes_put16(to + V4_ID, identification);
	bytes_put16(to + V4_FRAGMENT, V4_DONT_FRAGMENT);
	to[V4_TTL] = packet->hop_limit;
	to[V4_PROTOCOL] = packet->protocol;
	bytes_put16(to + V4_CHECKSUM, 0);
	memcpy(to + V4_SOURCE, packet->source.bytes + ADDRESS_IPV4_AT, 4);
	memcpy(to + V4_DESTINATION, packet->destination.bytes + ADDRESS_IPV4_AT, 4);
	bytes_put16(to + V4_CHECKSUM, checksum_finish(checksum_add(0, to, PACKET_IPV4_BYTES)));
	return PACKET_IPV4_BYTES;
}

size_t packet_build(uint8_t *to, const struct packet *packet, uint16_t identification)
{
	if (address_is_ipv4(&packet->destination))
		return build_v4(to, packet, identification);
	bytes_put32(to, 6u << 28 | (uint32_t)packet->traffic_class << 20);
	bytes_put16(to + V6_LENGTH, packet->payload_bytes);
	to[V6_NEXT] = packet->protocol;
	to[V6_HOP_LIMIT] = packet->hop_limit;
	memcpy(to + V6_SOURCE, packet->source.bytes, 16);
	memcpy(to + V6_DESTINATION, packet->destination.bytes, 16);
	return PACKET_IPV6_BYTES;
}
