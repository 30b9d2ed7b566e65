/* ICMP errors (RFC 792, RFC 4443): which of our packets one is about, and what is said of it.
 *
 * Any thread, any signal handler; no state. Whether the quoted packet was ever sent is for the transports to judge (RFC 5927). */
#ifndef BYWAY_FRAME_ICMP_H
#define BYWAY_FRAME_ICMP_H

#include <stdint.h>

#include "frame/packet.h"

/* Types: RFC 792 and RFC 1122, RFC 4443. */
enum {
	ICMP_V4_UNREACHABLE = 3,
	ICMP_V4_TIME_EXCEEDED = 11,
	ICMP_V4_PARAMETER = 12
};
enum {
	ICMP_V6_UNREACHABLE = 1,
	ICMP_V6_TOO_BIG = 2,
	ICMP_V6_TIME_EXCEEDED = 3,
	ICMP_V6_PARAMETER = 4
};

enum icmp_kind {
	ICMP_OTHER, /* not an error, or one that no transport is told of */
	ICMP_TOO_BIG, /* RFC 1191, 4; RFC 8201: next_hop_mtu */
	ICMP_HARD, /* of RFC 1122, 4.2.3.9: protocol or port unreachable, fragmentation needed without MTU */
	ICMP_SOFT /* there: network or host unreachable, time exceeded, parameter problem */
};

struct icmp_error {
	enum icmp_kind kind;
	uint8_t type;
	uint8_t code;
	uint8_t protocol; /* of the packet that it is about */
	struct address source; /* ours */
	struct address destination;
	uint16_t source_port; /* ours */
	uint16_t destination_port;
	uint32_t sequence; /* of TCP */
	uint32_t next_hop_mtu; /* bytes, where too big; 0: an old router, which does not say (RFC 1191, 4) */
};

/* Reads the message that is `packet`'s payload, which begins at `from`. enum drop. */
enum drop icmp_parse(const uint8_t *from, const struct packet *packet, struct icmp_error *error);

#endif
