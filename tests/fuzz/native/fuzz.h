/* What all targets have: their input, read a piece at a time, and the end of a run in which something does not hold. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *count, char ***arguments);

struct input {
	const uint8_t *at;
	const uint8_t *end;
};

static inline size_t input_left(const struct input *input)
{
	return (size_t)(input->end - input->at);
}

/* Behind the end there are zeros. */
static inline uint8_t input_8(struct input *input)
{
	return input->at < input->end ? *input->at++ : 0;
}

static inline uint16_t input_16(struct input *input)
{
	uint8_t low = input_8(input);

	return (uint16_t)(low | input_8(input) << 8);
}

static inline uint32_t input_32(struct input *input)
{
	uint32_t low = input_16(input);

	return low | (uint32_t)input_16(input) << 16;
}

/* Up to `wanted` bytes, where they lie; *bytes says how many. */
static inline const uint8_t *input_bytes(struct input *input, size_t wanted, size_t *bytes)
{
	const uint8_t *from = input->at;

	*bytes = wanted < input_left(input) ? wanted : input_left(input);
	input->at += *bytes;
	return from;
}

/* `what` is a sentence about what holds otherwise. */
static inline void must(int holds, const char *what)
{
	if (__builtin_expect(holds, 1))
		return;
	fprintf(stderr, "BROKEN: %s\n", what);
	abort();
}

#endif
