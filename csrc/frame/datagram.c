/* RFC 768, and RFC 1122 4.1.3.4: a checksum that is 0 was not made; over IPv6 there must be one (RFC 8200, 8.1). */
#include "frame/datagram.h"

#include "frame/bytes.h"
#include "frame/checksum.h"

enum {
	UDP_SOURCE_PORT = 0,
	UDP_DESTINATION_PORT = 2,
	UDP_LENGTH = 4,
	UDP_CHECKSUM = 6
};

static uint16_t checksum_of(const uint8_t *from, const struct packet *packet, uint32_t bytes)
{
	uint64_t sum = checksum_pseudo_header(&packet->source, &packet->destination, PROTOCOL_UDP, bytes);

	return checksum_finish(checksum_add(sum, from, bytes));
}

static int checksum_is_right(const uint8_t *from, const struct packet *packet, uint32_t bytes)
{
	if (!bytes_get16(from + UDP_CHECKSUM))
		return address_is_ipv4(&packet->destination);
	return !checksum_of(from, packet, bytes);
}

enum drop datagram_parse(const uint8_t *from, const struct packet *packet, int is_checked, struct datagram *datagram)
{
	uint32_t bytes;

	if (packet->payload_bytes < DATAGRAM_HEADER_BYTES)
		return DROP_short_frame;
	bytes = bytes_get16(from + UDP_LENGTH);
	if (bytes < DATAGRAM_HEADER_BYTES || bytes > packet->payload_bytes)
		return DROP_bad_transport_header;
	if (!is_checked && !checksum_is_right(from, packet, bytes))
		return DROP_bad_transport_checksum;
	datagram->source_port = bytes_get16(from + UDP_SOURCE_PORT);
	datagram->destination_port = bytes_get16(from + UDP_DESTINATION_PORT);
	datagram->payload_bytes = bytes - DATAGRAM_HEADER_BYTES;
	return DROP_none;
}

size_t datagram_build(uint8_t *to, const struct packet *packet, const struct datagram *datagram)
{
	uint32_t bytes = DATAGRAM_HEADER_BYTES + datagram->payload_bytes;
	uint16_t checksum;

	bytes_put16(to + UDP_SOURCE_PORT, datagram->source_port);
	bytes_put16(to + UDP_DESTINATION_PORT, datagram->destination_port);
	bytes_put16(to + UDP_LENGTH, bytes);
	bytes_put16(to + UDP_CHECKSUM, 0);
	checksum = checksum_of(to, packet, bytes);
	bytes_put16(to + UDP_CHECKSUM, checksum ? checksum : 0xffff); /* 0 would mean that there is none */
	return DATAGRAM_HEADER_BYTES;
}
