/* RFC 792, RFC 4443 and, for what an error means to a transport, RFC 1122 (3.2.2.1, 4.2.3.9). The quoted packet may end early: the
 * header and eight bytes are all that is promised (RFC 792), and all that is read. */
#include "frame/icmp.h"

#include "frame/bytes.h"
#include "frame/checksum.h"

enum {
	ICMP_TYPE = 0,
	ICMP_CODE = 1,
	ICMP_MTU_V6 = 4,
	ICMP_MTU_V4 = 6,
	ICMP_QUOTE = 8,
	QUOTED_TRANSPORT_BYTES = 8
};

enum {
	V4_CODE_PROTOCOL = 2,
	V4_CODE_PORT = 3,
	V4_CODE_TOO_BIG = 4
};
enum {
	V6_CODE_PORT = 4,
	V6_CODE_NEXT_HEADER = 1
};

static enum icmp_kind kind_v4(uint8_t type, uint8_t code)
{
	if (type == ICMP_V4_TIME_EXCEEDED || type == ICMP_V4_PARAMETER)
		return ICMP_SOFT;
	if (type != ICMP_V4_UNREACHABLE)
		return ICMP_OTHER;
	if (code == V4_CODE_TOO_BIG)
		return ICMP_TOO_BIG;
	return code == V4_CODE_PROTOCOL || code == V4_CODE_PORT ? ICMP_HARD : ICMP_SOFT;
}

static enum icmp_kind kind_v6(uint8_t type, uint8_t code)
{
	switch (type) {
	case ICMP_V6_TOO_BIG:
		return ICMP_TOO_BIG;
	case ICMP_V6_UNREACHABLE:
		return code == V6_CODE_PORT ? ICMP_HARD : ICMP_SOFT;
	case ICMP_V6_PARAMETER: /* RFC 4443, 2.2: the protocol is not there */
		return code == V6_CODE_NEXT_HEADER ? ICMP_HARD : ICMP_SOFT;
	case ICMP_V6_TIME_EXCEEDED:
		return ICMP_SOFT;
	default:
		return ICMP_OTHER;
	}
}

static int checksum_is_right(const uint8_t *from, const struct packet *packet)
{
	uint64_t sum = packet->protocol == PROTOCOL_ICMPV6 ? checksum_pseudo_header(&packet->source, &packet->destination,
	                                                                            PROTOCOL_ICMPV6, packet->payload_bytes)
	                                                   : 0;

	return !checksum_finish(checksum_add(sum, from, packet->payload_bytes));
}

/* The quoted packet, which is longer than what is there of it. */
static enum drop read_quote(const uint8_t *quote, uint32_t bytes, struct icmp_error *error)
{
	struct packet quoted;
	enum drop drop = packet_parse_quoted(quote, bytes, &quoted);
	const uint8_t *transport;

	if (drop != DROP_none)
		return drop;
	if (quoted.payload_bytes < QUOTED_TRANSPORT_BYTES)
		return DROP_short_frame;
	transport = quote + quoted.payload_offset;
	error->protocol = quoted.protocol;
	error->source = quoted.source;
	error->destination = quoted.destination;
	error->source_port = bytes_get16(transport);
	error->destination_port = bytes_get16(transport + 2);
	error->sequence = bytes_get32(transport + 4);
	return DROP_none;
}

enum drop icmp_parse(const uint8_t *from, const struct packet *packet, struct icmp_error *error)
{
	int is_v6 = packet->protocol == PROTOCOL_ICMPV6;

	*error = (struct icmp_error){.kind = ICMP_OTHER};
	if (packet->payload_bytes < ICMP_QUOTE)
		return DROP_short_frame;
	if (!checksum_is_right(from, packet))
		return DROP_bad_transport_checksum;
	error->type = from[ICMP_TYPE];
	error->code = from[ICMP_CODE];
	error->kind = is_v6 ? kind_v6(error->type, error->code) : kind_v4(error->type, error->code);
	if (error->kind == ICMP_OTHER)
		return DROP_none;
	if (error->kind == ICMP_TOO_BIG)
		error->next_hop_mtu = is_v6 ? bytes_get32(from + ICMP_MTU_V6) : bytes_get16(from + ICMP_MTU_V4);
	return read_quote(from + ICMP_QUOTE, packet->payload_bytes - ICMP_QUOTE, error);
}
