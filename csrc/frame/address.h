/* Addresses of both families in one form: 16 bytes as on the wire, an IPv4 address as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2).
 * Any thread, any signal handler. */
#ifndef BYWAY_FRAME_ADDRESS_H
#define BYWAY_FRAME_ADDRESS_H

#include <stdint.h>
#include <string.h>

#define ADDRESS_IPV4_AT 12 /* where the four bytes of an IPv4 address lie */

struct address {
	uint8_t bytes[16];
};

static inline struct address address_of_ipv4(const uint8_t *four)
{
	struct address address = {.bytes = {[10] = 0xff, [11] = 0xff}};

	memcpy(address.bytes + ADDRESS_IPV4_AT, four, 4);
	return address;
}

static inline struct address address_of_ipv6(const uint8_t *sixteen)
{
	struct address address;

	memcpy(address.bytes, sixteen, 16);
	return address;
}

/* The same in two words, as they are loaded: where the parts of one are compared before all of it is needed. */
struct address_words {
	uint64_t first;
	uint64_t last;
};
#define ADDRESS_IPV4_LAST 0xffff0000u /* of an IPv4 address, whose own bytes are the upper half */

static inline struct address_words address_words(const uint8_t *sixteen)
{
	struct address_words words;

	memcpy(&words, sixteen, sizeof(words));
	return words;
}

static inline struct address_words address_words_of_ipv4(const uint8_t *four)
{
	uint32_t own;

	memcpy(&own, four, sizeof(own));
	return (struct address_words){0, (uint64_t)own << 32 | ADDRESS_IPV4_LAST};
}

static inline struct address address_of_words(struct address_words words)
{
	struct address address;

	memcpy(address.bytes, &words, sizeof(address.bytes));
	return address;
}

static inline int address_words_are_ipv4(struct address_words words)
{
	return !words.first && (uint32_t)words.last == ADDRESS_IPV4_LAST;
}

static inline int address_words_equal(struct address_words one, struct address_words other)
{
	return one.first == other.first && one.last == other.last;
}

static inline int address_is_ipv4(const struct address *address)
{
	return address_words_are_ipv4(address_words(address->bytes));
}

static inline int address_equal(const struct address *one, const struct address *other)
{
	return !memcmp(one->bytes, other->bytes, sizeof(one->bytes));
}

/* 224.0.0.0/4 (RFC 1112, 4) and ff00::/8 (RFC 4291, 2.7). */
static inline int address_is_multicast(const struct address *address)
{
	return address_is_ipv4(address) ? address->bytes[ADDRESS_IPV4_AT] >> 4 == 0xe : address->bytes[0] == 0xff;
}

/* 0.0.0.0 and :: */
static inline int address_is_unspecified(const struct address *address)
{
	static const uint8_t nothing[16];

	return address_is_ipv4(address) ? !memcmp(address->bytes + ADDRESS_IPV4_AT, nothing, 4)
	                                : !memcmp(address->bytes, nothing, sizeof(nothing));
}

/* 255.255.255.255 */
static inline int address_is_broadcast(const struct address *address)
{
	static const uint8_t all[4] = {0xff, 0xff, 0xff, 0xff};

	return address_is_ipv4(address) && !memcmp(address->bytes + ADDRESS_IPV4_AT, all, sizeof(all));
}

#endif
