/* A keyed hash that nobody without the key can foresee: SipHash-2-4 (Aumasson and Bernstein, 2012).
 * Any thread, any signal handler; no state. */
#ifndef BYWAY_STACK_SECRET_H
#define BYWAY_STACK_SECRET_H

#include <stddef.h>
#include <stdint.h>

struct secret {
	uint64_t key[2];
};

uint64_t secret_hash(const struct secret *secret, const void *from, size_t bytes);

#endif
