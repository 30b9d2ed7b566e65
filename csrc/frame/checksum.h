/* The Internet checksum (RFC 1071). Sums are kept unfolded, so that pieces can be added one after the other; every piece but the
 * last has an even number of bytes. Any thread, any signal handler. */
#ifndef BYWAY_FRAME_CHECKSUM_H
#define BYWAY_FRAME_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "frame/address.h"

/* `sum` and the 16-bit words of `bytes` bytes at `from`; of an odd number the last word ends with a 0. */
uint64_t checksum_add(uint64_t sum, const uint8_t *from, size_t bytes);

/* What goes before the header of TCP and UDP: RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6. */
uint64_t checksum_pseudo_header(const struct address *source, const struct address *destination, uint8_t protocol,
                                uint32_t bytes);

/* The field's value: the complement of the folded sum. 0 where the sum had a right checksum in it. */
uint16_t checksum_finish(uint64_t sum);

#endif
