/* The constants, the four rotations of a round and the last block (the length in its top byte) are those of the paper. */
#include "stack/secret.h"

#include <string.h>

static uint64_t rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static void rounds(uint64_t v[4], int count)
{
	while (count-- > 0) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
}

uint64_t secret_hash(const struct secret *secret, const void *from, size_t bytes)
{
	uint64_t v[4] = {secret->key[0] ^ 0x736f6d6570736575, secret->key[1] ^ 0x646f72616e646f6d,
	                 secret->key[0] ^ 0x6c7967656e657261, secret->key[1] ^ 0x7465646279746573};
	const uint8_t *at = from;
	uint64_t word, last = (uint64_t)bytes << 56;
	size_t left = bytes;

	for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		absorb(v, word);
	}
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)at[i] << (8 * i);
	absorb(v, last);
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
