/* The packet that most are: no options of IP, no fragment; TCP with ACK, perhaps PSH and FIN, and either no options or the timestamps
 * alone, as RFC 7323, appendix A, has them. Read and written in one go, for the way that every byte takes; all others are for
 * frame/packet.h and frame/segment.h, which know these too, and agree.
 *
 * Any thread, any signal handler; no state. */
#ifndef BYWAY_FRAME_USUAL_H
#define BYWAY_FRAME_USUAL_H

#include "frame/bytes.h"
#include "frame/checksum.h"
#include "frame/header.h"
#include "frame/segment.h"

/* -- reading -------------------------------------------------------------------------------------------------------------- */

/* What the IP header has told. */
struct usual_packet {
	const uint8_t *from; /* TCP's header, and the payload behind it */
	uint32_t ip_header; /* bytes before it */
	uint32_t bytes; /* of both: at least SEGMENT_HEADER_BYTES */
	uint64_t address_sum; /* for the checksum; of IPv4 the two addresses themselves */
	uint32_t v4_ports; /* as they lie: no packet has 0 twice; 0: of IPv6 */
};

static inline struct address_words usual_source(const struct usual_packet *packet)
{
	const uint8_t *ip = packet->from - packet->ip_header;

	return packet->v4_ports ? address_words_of_ipv4(ip + V4_SOURCE) : address_words(ip + V6_SOURCE);
}

static inline struct address_words usual_destination(const struct usual_packet *packet)
{
	const uint8_t *ip = packet->from - packet->ip_header;

	return packet->v4_ports ? address_words_of_ipv4(ip + V4_DESTINATION) : address_words(ip + V6_DESTINATION);
}

/* RFC 1071: the sum of what has its checksum in it is all ones. */
static inline int usual_sum_is_right(uint64_t sum)
{
	return !checksum_finish(sum);
}

static inline uint64_t usual_v4_sum(const uint8_t *from)
{
	uint32_t last;

	memcpy(&last, from + V4_DESTINATION, sizeof(last));
	return checksum_add_word(checksum_add_word(checksum_load(from), checksum_load(from + V4_TTL)), last);
}

static inline int usual_read_v4(const uint8_t *from, uint32_t bytes, struct usual_packet *packet)
{
	uint32_t length = bytes_get16(from + V4_LENGTH);

	if (from[V4_PROTOCOL] != PROTOCOL_TCP || length > bytes || length < PACKET_IPV4_BYTES + SEGMENT_HEADER_BYTES ||
	    bytes_get16(from + V4_FRAGMENT) & V4_IS_FRAGMENT || !usual_sum_is_right(usual_v4_sum(from)))
		return 0;
	packet->from = from + PACKET_IPV4_BYTES;
	packet->ip_header = PACKET_IPV4_BYTES;
	packet->bytes = length - PACKET_IPV4_BYTES;
	packet->address_sum = checksum_load(from + V4_SOURCE);
	memcpy(&packet->v4_ports, packet->from, sizeof(packet->v4_ports));
	return packet->v4_ports != 0;
}

static inline int usual_read_v6(const uint8_t *from, uint32_t bytes, struct usual_packet *packet)
{
	uint32_t length = bytes_get16(from + V6_LENGTH);

	if (bytes < PACKET_IPV6_BYTES || from[V6_NEXT] != PROTOCOL_TCP || length > bytes - PACKET_IPV6_BYTES ||
	    length < SEGMENT_HEADER_BYTES)
		return 0;
	packet->from = from + PACKET_IPV6_BYTES;
	packet->ip_header = PACKET_IPV6_BYTES;
	packet->bytes = length;
	packet->address_sum = checksum_add(0, from + V6_SOURCE, 2 * sizeof(struct address));
	packet->v4_ports = 0;
	return !address_words_are_ipv4(usual_source(packet)) && !address_words_are_ipv4(usual_destination(packet));
}

/* 1: it is whole, and its header's checksum right. 0: what is unusual about it, or wrong, others say. */
static inline int usual_read(const uint8_t *from, uint32_t bytes, struct usual_packet *packet)
{
	if (bytes < PACKET_IPV4_BYTES + SEGMENT_HEADER_BYTES)
		return 0;
	return from[0] == V4_USUAL ? usual_read_v4(from, bytes, packet)
	                           : from[0] >> 4 == V6_VERSION && usual_read_v6(from, bytes, packet);
}

/* The pseudo header's length and protocol as they would stand on the wire. */
static inline uint64_t usual_pseudo_rest(uint32_t bytes)
{
	return (uint64_t)__builtin_bswap32(bytes) + ((uint32_t)PROTOCOL_TCP << 24);
}

static inline int usual_segment_is_right(const struct usual_packet *packet)
{
	uint64_t sum = checksum_add_word(packet->address_sum, usual_pseudo_rest(packet->bytes));

	return usual_sum_is_right(checksum_add(sum, packet->from, packet->bytes));
}

/* Bytes of TCP's header. */
static inline uint32_t usual_header_bytes(int has_timestamp)
{
	return has_timestamp ? SEGMENT_HEADER_BYTES + TCP_USUAL_OPTIONS_BYTES : SEGMENT_HEADER_BYTES;
}

/* ACK and perhaps PSH, and a header of the length that its options take. */
static inline int usual_head(const uint8_t *from, uint32_t header)
{
	return (bytes_get16(from + TCP_DATA_OFFSET) & ~(uint32_t)SEGMENT_PSH) == (header / 4 << 12 | SEGMENT_ACK);
}

/* -- writing -------------------------------------------------------------------------------------------------------------- */

struct usual {
	const struct address *source;
	const struct address *destination;
	uint32_t bytes; /* of the payload */
	uint32_t sequence;
	uint32_t acknowledgement;
	uint32_t timestamp; /* where has_timestamp */
	uint32_t timestamp_echo;
	uint16_t source_port;
	uint16_t destination_port;
	uint16_t window;
	uint8_t flags;
	uint8_t has_timestamp;
	uint8_t hop_limit;
	uint8_t traffic_class;
};

/* A word of a header, and `sum` with it: words of 32 bits, of which 64 hold any number that a header has. */
static inline uint64_t usual_put(uint8_t *to, uint32_t value, uint64_t sum)
{
	uint32_t word = __builtin_bswap32(value);

	memcpy(to, &word, sizeof(word));
	return sum + word;
}

/* The same of an IPv4 address. */
static inline uint64_t usual_put_address(uint8_t *to, const struct address *address, uint64_t sum)
{
	uint32_t word;

	memcpy(&word, address->bytes + ADDRESS_IPV4_AT, sizeof(word));
	memcpy(to, &word, sizeof(word));
	return sum + word;
}

/* IPv4's header at `to`, of a packet of `length` bytes. The sum of the addresses. */
static inline uint64_t usual_write_v4(uint8_t *to, const struct usual *usual, uint32_t length, uint16_t identification)
{
	uint64_t addresses = usual_put_address(to + V4_SOURCE, usual->source, 0), sum;
	uint32_t ttl_and_protocol = (uint32_t)usual->hop_limit << 24 | PROTOCOL_TCP << 16;

	addresses = usual_put_address(to + V4_DESTINATION, usual->destination, addresses);
	sum = usual_put(to, (uint32_t)V4_USUAL << 24 | (uint32_t)usual->traffic_class << 16 | length, addresses);
	sum = usual_put(to + V4_ID, (uint32_t)identification << 16 | V4_DONT_FRAGMENT, sum);
	sum += __builtin_bswap32(ttl_and_protocol);
	usual_put(to + V4_TTL, ttl_and_protocol | checksum_finish(sum), 0);
	return addresses;
}

static inline uint64_t usual_write_v6(uint8_t *to, const struct usual *usual, uint32_t length)
{
	uint64_t sum;

	usual_put(to, (uint32_t)V6_VERSION << 28 | (uint32_t)usual->traffic_class << 20, 0);
	usual_put(to + V6_LENGTH, length << 16 | PROTOCOL_TCP << 8 | usual->hop_limit, 0);
	memcpy(to + V6_SOURCE, usual->source, sizeof(*usual->source));
	memcpy(to + V6_DESTINATION, usual->destination, sizeof(*usual->destination));
	sum = checksum_add(checksum_add(0, usual->source->bytes, 16), usual->destination->bytes, 16);
	return (sum & UINT32_MAX) + (sum >> 32);
}

/* TCP's header of `header` bytes at `to`, with the payload behind it. `sum`: of the addresses. */
static inline void usual_write_tcp(uint8_t *to, const struct usual *usual, uint32_t header, uint64_t sum)
{
	sum += usual_pseudo_rest(header + usual->bytes);
	sum = usual_put(to + TCP_SOURCE_PORT, (uint32_t)usual->source_port << 16 | usual->destination_port, sum);
	sum = usual_put(to + TCP_SEQUENCE, usual->sequence, sum);
	sum = usual_put(to + TCP_ACKNOWLEDGEMENT, usual->acknowledgement, sum);
	sum = usual_put(to + TCP_DATA_OFFSET, header / 4 << 28 | (uint32_t)usual->flags << 16 | usual->window, sum);
	if (usual->has_timestamp) {
		sum = usual_put(to + TCP_OPTIONS, TCP_USUAL_OPTIONS, sum);
		sum = usual_put(to + TCP_USUAL_TIMESTAMP, usual->timestamp, sum);
		sum = usual_put(to + TCP_USUAL_ECHO, usual->timestamp_echo, sum);
	}
	sum = checksum_add(sum, to + header, usual->bytes);
	usual_put(to + TCP_CHECKSUM, (uint32_t)checksum_finish(sum) << 16, 0); /* and no urgent pointer */
}

/* Writes both headers in front of the payload, which lies at `payload`: how many bytes they take. `identification`: as in packet_build. */
static inline uint32_t usual_write(uint8_t *payload, const struct usual *usual, uint16_t identification)
{
	uint32_t header = usual_header_bytes(usual->has_timestamp), length = header + usual->bytes;
	uint8_t *tcp = payload - header;

	if (address_is_ipv4(usual->destination)) {
		usual_write_tcp(tcp, usual, header,
		                usual_write_v4(tcp - PACKET_IPV4_BYTES, usual, PACKET_IPV4_BYTES + length, identification));
		return PACKET_IPV4_BYTES + header;
	}
	usual_write_tcp(tcp, usual, header, usual_write_v6(tcp - PACKET_IPV6_BYTES, usual, length));
	return PACKET_IPV6_BYTES + header;
}

#endif
