/* Position-coded bytes: the byte at offset o of stream s is known to both ends, so a byte that is lost, repeated, or in
 * the wrong place is seen where it happens.
 *
 * Used by the agents of tests/crash, tests/badinput and tests/stress. Word w of stream s is splitmix64(s + w). */
#ifndef BYWAY_TESTS_POSITION_H
#define BYWAY_TESTS_POSITION_H

#include <stdint.h>
#include <string.h>

#define POSITION_CHUNK_MAX (1 << 20)

static inline uint64_t position_word(uint64_t stream, uint64_t word_index)
{
	uint64_t z = stream * 0xd1342543de82ef95u + word_index * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Fills `buffer`, which has room for bytes + 16, and returns where the byte of `offset` is in it. */
static inline uint8_t *position_fill(uint8_t *buffer, uint64_t stream, uint64_t offset, size_t bytes)
{
	uint64_t first = offset / 8;
	uint64_t last = (offset + bytes + 7) / 8;

	for (uint64_t word_index = first; word_index < last; word_index++) {
		uint64_t word = position_word(stream, word_index);
		memcpy(buffer + (word_index - first) * 8, &word, 8);
	}
	return buffer + offset % 8;
}

/* -1: all `bytes` are what belongs at `offset`; else the index of the first wrong one. `bytes` is at most 1 MiB. */
static inline int64_t position_mismatch(const uint8_t *got, uint64_t stream, uint64_t offset, size_t bytes)
{
	static __thread uint8_t expected[POSITION_CHUNK_MAX + 16];
	const uint8_t *want = position_fill(expected, stream, offset, bytes);

	if (memcmp(want, got, bytes) == 0)
		return -1;
	for (size_t index = 0; index < bytes; index++)
		if (want[index] != got[index])
			return (int64_t)index;
	return -1;
}

#endif
