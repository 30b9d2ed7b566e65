/* Frames of Ethernet around IP packets (RFC 894, RFC 2464; IEEE 802.1Q for tags). Any thread, any signal handler; no state. */
#ifndef BYWAY_VI_ETHERNET_H
#define BYWAY_VI_ETHERNET_H

#include "frame/bytes.h"
#include "frame/checksum.h"
#include "frame/header.h"
#include "frame/packet.h"

enum {
	ETHERNET_TYPE = 12,
	ETHERNET_BYTES = 14,
	ETHERNET_TAG_BYTES = 4,
	ETHERNET_TAGS_MAX = 2
};
enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_TAG = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_SERVICE_TAG = 0x88a8
};

/* Bytes before the IP packet; 0: there is none in the frame. */
static inline uint32_t ethernet_header_bytes(const uint8_t *frame, uint32_t bytes)
{
	uint32_t at = ETHERNET_TYPE;

	for (int tags = 0; tags <= ETHERNET_TAGS_MAX && at + 2 < bytes; tags++, at += ETHERNET_TAG_BYTES) {
		uint16_t type = bytes_get16(frame + at);

		if (type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6)
			return at + 2;
		if (type != ETHERTYPE_TAG && type != ETHERTYPE_SERVICE_TAG)
			return 0;
	}
	return 0;
}

/* The header in front of `packet`, an IPv4 or IPv6 one. */
static inline void ethernet_write(uint8_t *to, const uint8_t destination[6], const uint8_t source[6],
                                  const uint8_t *packet)
{
	memcpy(to, destination, 6);
	memcpy(to + 6, source, 6);
	bytes_put16(to + ETHERNET_TYPE, packet[0] >> 4 == V6_VERSION ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
}

/* Of a packet that we have built. */
static inline struct address ethernet_destination(const uint8_t *packet)
{
	return packet[0] >> 4 == V6_VERSION ? address_of_ipv6(packet + V6_DESTINATION)
	                                    : address_of_ipv4(packet + V4_DESTINATION);
}

/* Where TCP and UDP have their checksum; 0: neither. */
static inline uint32_t ethernet_checksum_at(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP ? TCP_CHECKSUM : protocol == PROTOCOL_UDP ? 6 : 0;
}

/* The checksum is that of the pseudo header alone: who sent it left the rest to an adapter (Linux: CHECKSUM_PARTIAL), and there was
 * none on the way. One in 65,536 packets with a wrong checksum looks like it, so this is for links within a machine only. */
static inline int ethernet_is_partial(const uint8_t *packet, uint32_t bytes)
{
	struct packet parsed;
	uint32_t at;
	uint16_t whole;

	if (packet_parse(packet, bytes, &parsed) != DROP_none)
		return 0;
	at = ethernet_checksum_at(parsed.protocol);
	if (!at || parsed.payload_bytes < at + 2)
		return 0;
	whole = checksum_finish(
		checksum_pseudo_header(&parsed.source, &parsed.destination, parsed.protocol, parsed.payload_bytes));
	return (whole ^ bytes_get16(packet + parsed.payload_offset + at)) == UINT16_MAX;
}

#endif
