#include "frame/checksum.h"

uint64_t checksum_load_rest(const uint8_t *from, size_t bytes)
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
