/* RFC 1071 sections 1 and 2: the sum of 16-bit words is the same in either byte order, and may be taken in wider words. */
#include "frame/checksum.h"

#include <string.h>

#include "frame/bytes.h"

uint64_t checksum_add(uint64_t sum, const uint8_t *from, size_t bytes)
{
	uint32_t word;

	for (; bytes >= sizeof(word); bytes -= sizeof(word), from += sizeof(word)) {
		memcpy(&word, from, sizeof(word));
		sum += word;
	}
	if (bytes) {
		word = 0;
		memcpy(&word, from, bytes);
		sum += word;
	}
	return sum;
}

uint64_t checksum_pseudo_header(const struct address *source, const struct address *destination, uint8_t protocol,
                                uint32_t bytes)
{
	uint8_t rest[8] = {[7] = protocol};
	size_t at = address_is_ipv4(destination) ? ADDRESS_IPV4_AT : 0;
	uint64_t sum = checksum_add(0, source->bytes + at, sizeof(source->bytes) - at);

	bytes_put32(rest, bytes);
	sum = checksum_add(sum, destination->bytes + at, sizeof(destination->bytes) - at);
	return checksum_add(sum, rest, sizeof(rest));
}

uint16_t checksum_finish(uint64_t sum)
{
	uint8_t field[2];

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	field[0] = (uint8_t)~sum; /* the words were loaded least significant byte first */
	field[1] = (uint8_t)(~sum >> 8);
	return bytes_get16(field);
}
