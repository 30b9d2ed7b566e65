/* RFC 1071 sections 1 and 2: the sum of 16-bit words is the same in either byte order, and may be taken in wider words, if what goes over
 * the top comes in again at the bottom. */
#include "frame/checksum.h"

#include <string.h>

static uint64_t load64(const uint8_t *from)
{
	uint64_t word;

	memcpy(&word, from, sizeof(word));
	return word;
}

/* What goes over the top comes in again. */
static inline uint64_t add(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

/* Fewer than eight bytes, the last of an odd number with a 0 behind it. */
static uint64_t load_rest(const uint8_t *from, size_t bytes)
{
	uint64_t word = 0;
	uint32_t four;
	uint16_t two;
	int shift = 0;

	if (bytes & 4) {
		memcpy(&four, from, sizeof(four));
		word = four;
		shift = 32;
	}
	if (bytes & 2) {
		memcpy(&two, from + (bytes & 4), sizeof(two));
		word |= (uint64_t)two << shift;
		shift += 16;
	}
	return bytes & 1 ? word | (uint64_t)from[bytes - 1] << shift : word;
}

uint64_t checksum_add(uint64_t sum, const uint8_t *from, size_t bytes)
{
	for (; bytes >= 32; bytes -= 32, from += 32) {
		sum = add(sum, load64(from));
		sum = add(sum, load64(from + 8));
		sum = add(sum, load64(from + 16));
		sum = add(sum, load64(from + 24));
	}
	for (; bytes >= 8; bytes -= 8, from += 8)
		sum = add(sum, load64(from));
	return bytes ? add(sum, load_rest(from, bytes)) : sum;
}

/* An IPv4 address is summed with the ffff before it, which is nothing in this arithmetic. */
uint64_t checksum_pseudo_header(const struct address *source, const struct address *destination, uint8_t protocol,
                                uint32_t bytes)
{
	uint64_t sum = load64(source->bytes);

	sum = add(sum, load64(source->bytes + 8));
	sum = add(sum, load64(destination->bytes));
	sum = add(sum, load64(destination->bytes + 8));
	/* both as they would stand on the wire */
	return add(sum, (uint64_t)__builtin_bswap32(bytes) + ((uint32_t)protocol << 24));
}

uint16_t checksum_finish(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return __builtin_bswap16((uint16_t)~sum); /* the words were loaded least significant byte first */
}
