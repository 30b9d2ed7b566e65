/* IPv4 and IPv6: what a received packet says, and the header of one that is sent.
 *
 * Nothing in a frame is believed before it is checked against the bytes that are there. Any thread, any signal handler; no state. */
#ifndef BYWAY_FRAME_PACKET_H
#define BYWAY_FRAME_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "frame/address.h"

enum drop {
#define DROP(code, name, text) DROP_##name = (code),
#include "frame/drops.def"
#undef DROP
	DROP_COUNT
};

/* Protocol numbers: RFC 1700, and IANA's registry since. */
enum {
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_ICMPV6 = 58
};

enum {
	PACKET_IPV4_BYTES = 20,
	PACKET_IPV6_BYTES = 40
}; /* of a header without options */

struct packet {
	struct address source;
	struct address destination;
	uint32_t payload_offset; /* from the start of the IP header */
	uint32_t payload_bytes; /* as the header says: what the link has put behind it is not counted */
	uint8_t protocol;
	uint8_t hop_limit;
	uint8_t traffic_class; /* the two lowest bits: RFC 3168 */
	uint8_t has_options; /* IPv4 options, or IPv6 extension headers */
};

/* Reads the packet that begins at `from`. enum drop. */
enum drop packet_parse(const uint8_t *from, size_t bytes, struct packet *packet);

/* The same of a packet that an ICMP error quotes: it may end early, its payload_bytes are those that are there, and checksum and
 * addresses are not judged: routers change them (RFC 1122, 3.2.2). */
enum drop packet_parse_quoted(const uint8_t *from, size_t bytes, struct packet *packet);

/* Writes a header for `packet`, of which all but payload_offset and has_options count, at `to`: PACKET_IPV4_BYTES or
 * PACKET_IPV6_BYTES, which are returned. Never fragmented (IPv4: DF; RFC 1191, 3). `identification`: RFC 6864, 4.1: any. */
size_t packet_build(uint8_t *to, const struct packet *packet, uint16_t identification);

#endif
