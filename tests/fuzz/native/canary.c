/* A planted fault, by which one sees that fuzzing finds faults: behind four right bytes one byte too many is read. */
#include <string.h>

#include "fuzz.h"

enum {
	MAGIC_BYTES = 4
};

static int is_magic(const uint8_t *from)
{
	return from[0] == 'b' && from[1] == 'i' && from[2] == 'r' && from[3] == 'd';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	volatile uint8_t seen = 0;

	must(copy != NULL, "there is memory");
	if (bytes)
		memcpy(copy, data, bytes);
	if (bytes >= MAGIC_BYTES && is_magic(copy))
		seen = copy[bytes];
	free(copy);
	return seen - seen;
}
