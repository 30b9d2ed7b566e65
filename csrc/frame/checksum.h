/* The Internet checksum (RFC 1071). Sums are kept unfolded, so that pieces can be added one after the other; every piece but the
 * last has an even number of bytes. Any thread, any signal handler.
 *
 * Sections 1 and 2 there: the sum of 16-bit words is the same in either byte order, and may be taken in wider words, if what goes
 * over the top comes in again at the bottom. All here: it is done for every byte. */
#ifndef BYWAY_FRAME_CHECKSUM_H
#define BYWAY_FRAME_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "frame/address.h"

static inline uint64_t checksum_load(const uint8_t *from)
{
	uint64_t word;

	memcpy(&word, from, sizeof(word));
	return word;
}

/* `sum` and four 16-bit words, as they were loaded. What goes over the top comes in again. */
static inline uint64_t checksum_add_word(uint64_t sum, uint64_t word)
{
	uint64_t carry = __builtin_add_overflow(sum, word, &sum);

	return sum + carry;
}

/* Fewer than eight bytes, the last of an odd number with a 0 behind it. */
uint64_t checksum_load_rest(const uint8_t *from, size_t bytes);

/* `sum` and the 16-bit words of `bytes` bytes at `from`; of an odd number the last word ends with a 0. */
static inline uint64_t checksum_add(uint64_t sum, const uint8_t *from, size_t bytes)
{
	for (; bytes >= 64; bytes -= 64, from += 64)
		sum = cpu_add_carry8(sum, from);
	if (bytes >= 32) {
		sum = cpu_add_carry4(sum, from);
		bytes -= 32;
		from += 32;
	}
	for (; bytes >= 8; bytes -= 8, from += 8)
		sum = checksum_add_word(sum, checksum_load(from));
	return bytes ? checksum_add_word(sum, checksum_load_rest(from, bytes)) : sum;
}

/* What goes before the header of TCP and UDP: RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6. An IPv4 address is summed with the ffff
 * before it, which is nothing in this arithmetic. */
static inline uint64_t checksum_pseudo_header(const struct address *source, const struct address *destination,
                                              uint8_t protocol, uint32_t bytes)
{
	uint64_t sum = checksum_load(source->bytes);

	sum = checksum_add_word(sum, checksum_load(source->bytes + 8));
	sum = checksum_add_word(sum, checksum_load(destination->bytes));
	sum = checksum_add_word(sum, checksum_load(destination->bytes + 8));
	/* both as they would stand on the wire */
	return checksum_add_word(sum, (uint64_t)__builtin_bswap32(bytes) + ((uint32_t)protocol << 24));
}

/* The field's value: the complement of the folded sum. 0 where the sum had a right checksum in it. */
static inline uint16_t checksum_finish(uint64_t sum)
{
	uint32_t half = (uint32_t)((sum + (sum << 32 | sum >> 32)) >> 32); /* each half, and what went over the top */

	half = (half + (half << 16 | half >> 16)) >> 16;
	return __builtin_bswap16((uint16_t)~half); /* the words were loaded least significant byte first */
}

#endif
