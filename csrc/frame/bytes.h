/* Numbers on the wire: most significant byte first (RFC 791, appendix B), at any alignment. Any thread, any signal handler. */
#ifndef BYWAY_FRAME_BYTES_H
#define BYWAY_FRAME_BYTES_H

#include <stdint.h>

static inline uint16_t bytes_get16(const uint8_t *at)
{
	uint16_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return __builtin_bswap16(value);
}

static inline uint32_t bytes_get32(const uint8_t *at)
{
	uint32_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return __builtin_bswap32(value);
}

static inline void bytes_put16(uint8_t *at, uint32_t value)
{
	uint16_t turned = __builtin_bswap16((uint16_t)value);

	__builtin_memcpy(at, &turned, sizeof(turned));
}

static inline void bytes_put32(uint8_t *at, uint32_t value)
{
	uint32_t turned = __builtin_bswap32(value);

	__builtin_memcpy(at, &turned, sizeof(turned));
}

#endif
