/* Checksums that a fuzzer cannot guess. */
#ifndef TESTS_FUZZ_SUMS_H
#define TESTS_FUZZ_SUMS_H

#include <stddef.h>
#include <stdint.h>

/* Puts right checksums into the packet, as far as there is one. */
void sums_put(uint8_t *packet, size_t bytes);

#endif
