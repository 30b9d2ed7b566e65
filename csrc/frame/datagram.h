/* UDP (RFC 768; RFC 8200, 8.1 for IPv6): what a received datagram says, and the header of one that is sent.
 *
 * Any thread, any signal handler; no state. */
#ifndef BYWAY_FRAME_DATAGRAM_H
#define BYWAY_FRAME_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "frame/packet.h"

enum {
	DATAGRAM_HEADER_BYTES = 8
};

struct datagram {
	uint16_t source_port;
	uint16_t destination_port;
	uint32_t payload_bytes; /* behind the header, as the header says; the packet may be longer (RFC 768) */
};

/* Reads the datagram that is `packet`'s payload, which begins at `from`; the checksum is looked at where `is_checked` is 0.
 * enum drop. */
enum drop datagram_parse(const uint8_t *from, const struct packet *packet, int is_checked, struct datagram *datagram);

/* Writes the header at `to`; the payload lies behind it already. DATAGRAM_HEADER_BYTES, which packet->payload_bytes counts. */
size_t datagram_build(uint8_t *to, const struct packet *packet, const struct datagram *datagram);

#endif
