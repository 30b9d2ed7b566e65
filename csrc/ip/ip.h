/* IP: the header in front of what a transport has built, and the list of packets on their way out (RFC 791, RFC 8200).
 *
 * Routes and neighbours are not known here: who owns the adapter looks at a packet's destination. Under the stack's lock. */
#ifndef BYWAY_IP_IP_H
#define BYWAY_IP_IP_H

#include "frame/packet.h"
#include "stack/stack.h"

/* A cell with room for all headers; 0: none is free, which is counted. */
uint32_t ip_take_cell(struct stack *stack);

/* Sends the cell, whose `offset` and `bytes` are the transport's header and payload: puts the header of `packet` (payload_bytes and
 * payload_offset do not count) in front, and the packet on the list. `interface`: 0 or by which it must go. */
void ip_send(struct stack *stack, uint32_t cell, struct packet *packet, uint32_t interface);

/* The same of a cell that is a whole packet already. */
void ip_send_packet(struct stack *stack, uint32_t cell, uint32_t interface);

/* Takes the next packet off the list: its cell, which is the caller's; 0: there is none. */
uint32_t ip_next_packet(struct stack *stack);

/* What a socket has asked for; 0: nothing, then RFC 1700's default (RFC 1122, 3.2.1.7). */
static inline uint8_t ip_hop_limit(uint8_t wanted)
{
	return wanted ? wanted : 64;
}

/* Bytes of an IP header to `address`. */
static inline uint32_t ip_header_bytes(const struct address *address)
{
	return address_is_ipv4(address) ? PACKET_IPV4_BYTES : PACKET_IPV6_BYTES;
}

#endif
