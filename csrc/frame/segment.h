/* TCP segments (RFC 9293, 3.1 and 3.2): what a received one says, and the header of one that is sent.
 *
 * Any thread, any signal handler; no state. */
#ifndef BYWAY_FRAME_SEGMENT_H
#define BYWAY_FRAME_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "frame/packet.h"

enum {
	SEGMENT_HEADER_BYTES = 20,
	SEGMENT_HEADER_BYTES_MAX = 60,
	SEGMENT_SACKS_MAX = 4
};

/* RFC 9293, 3.1; RFC 3168, 6.1 for the two of congestion notification. */
enum segment_flag {
	SEGMENT_FIN = 1 << 0,
	SEGMENT_SYN = 1 << 1,
	SEGMENT_RST = 1 << 2,
	SEGMENT_PSH = 1 << 3,
	SEGMENT_ACK = 1 << 4,
	SEGMENT_URG = 1 << 5,
	SEGMENT_ECE = 1 << 6,
	SEGMENT_CWR = 1 << 7
};

/* Sequence numbers [left, right) that have arrived (RFC 2018, 3). */
struct segment_sack {
	uint32_t left;
	uint32_t right;
};

struct segment {
	uint16_t source_port;
	uint16_t destination_port;
	uint32_t sequence;
	uint32_t acknowledgement;
	uint16_t window; /* as it stands in the header, not scaled */
	uint16_t urgent;
	uint32_t payload_offset; /* from the start of the TCP header */
	uint32_t payload_bytes;
	uint32_t timestamp; /* RFC 7323, 3.2: where has_timestamp */
	uint32_t timestamp_echo;
	uint16_t maximum_segment_bytes; /* RFC 9293, 3.7.1; 0: the option is not there */
	uint8_t flags; /* enum segment_flag */
	uint8_t window_scale; /* RFC 7323, 2.2: where has_window_scale; at most 14 */
	uint8_t has_window_scale;
	uint8_t has_timestamp;
	uint8_t may_sack; /* RFC 2018, 2 */
	uint8_t sack_count; /* of one that is sent: at most 3 beside timestamps (RFC 2018, 3) */
	struct segment_sack sacks[SEGMENT_SACKS_MAX];
};

/* Reads the segment that is `packet`'s payload, which begins at `from`; the checksum is looked at where `is_checked` is 0.
 * enum drop. An option that is not sound ends the reading of options, and the segment counts all the same (RFC 9293, 3.1: MUST-7). */
enum drop segment_parse(const uint8_t *from, const struct packet *packet, int is_checked, struct segment *segment);

/* Bytes that the header of `segment` takes. */
size_t segment_header_bytes(const struct segment *segment);

/* Writes the header of `segment`, of which payload_offset does not count, at `to`: segment_header_bytes(segment), which are
 * returned. The payload lies behind it already. The checksum is that of the whole, as `packet`'s payload. */
size_t segment_build(uint8_t *to, const struct packet *packet, const struct segment *segment);

#endif
