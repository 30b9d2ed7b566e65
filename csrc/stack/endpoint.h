/* Endpoints: what all sockets of a stack have in common, where they lie, and how a packet finds its own.
 *
 * Under the stack's lock, but for what is said at the field. Number 0 is nobody's. */
#ifndef BYWAY_STACK_ENDPOINT_H
#define BYWAY_STACK_ENDPOINT_H

#include "frame/address.h"
#include "stack/stack.h"

enum endpoint_kind {
	ENDPOINT_FREE,
	ENDPOINT_STREAM,
	ENDPOINT_DATAGRAM
};

enum endpoint_table {
	ENDPOINT_NOWHERE,
	ENDPOINT_BOUND, /* found by protocol and local port: listeners, and UDP */
	ENDPOINT_CONNECTED /* found by both addresses and both ports */
};

struct endpoint {
	uint8_t kind; /* enum endpoint_kind */
	uint8_t table; /* enum endpoint_table: in which hash table it is */
	uint8_t protocol; /* PROTOCOL_TCP, PROTOCOL_UDP */
	uint8_t hop_limit; /* of what it sends */
	uint8_t traffic_class;
	uint8_t is_v6_only; /* an unspecified IPv6 address does not mean IPv4's too (RFC 3493, 5.3) */
	uint8_t may_share_port; /* SO_REUSEPORT, or SO_REUSEADDR of a datagram socket that hears multicast */
	uint8_t pad;
	uint16_t local_port; /* 0: not bound */
	uint16_t remote_port;
	uint32_t interface; /* by which its packets go; 0: whoever owns the adapter knows */
	struct address local; /* unspecified: all of the stack's */
	struct address remote;
	uint32_t hash_next; /* the next of its chain; 0: none */
	uint32_t next; /* of a list that it is in; 0: the last */
	int32_t error; /* errno that the next call reports, once; 0: none. Exchanged */
	uint32_t changes; /* raised when what calls would answer may have changed. Read by anybody */
};

static inline void *endpoint_slot(const struct stack *stack, uint32_t index)
{
	uint32_t bounded = likely(index < stack->endpoints) ? index : 0;

	return stack_at(stack, stack->endpoints_offset + (uint64_t)bounded * ENDPOINT_BYTES);
}

static inline struct endpoint *endpoint_at(const struct stack *stack, uint32_t index)
{
	return endpoint_slot(stack, index);
}

static inline uint32_t endpoint_index(const struct stack *stack, const void *endpoint)
{
	return (uint32_t)(((const char *)endpoint - (const char *)stack - stack->endpoints_offset) / ENDPOINT_BYTES);
}

/* All of them are free. */
void endpoints_make(struct stack *stack);
/* A free one, zeroed but for its kind and protocol; 0: there is none. */
uint32_t endpoint_take(struct stack *stack, enum endpoint_kind kind, uint8_t protocol);
/* In no table any more, and free. */
void endpoint_give_back(struct stack *stack, uint32_t index);

/* Into a table, by the addresses and ports that it has; out of the one it was in. */
void endpoint_enter(struct stack *stack, uint32_t index, enum endpoint_table table);
void endpoint_leave(struct stack *stack, uint32_t index);

/* The one of exactly these ends; 0: none. `local` is the one that a packet is for. */
uint32_t endpoint_connected(const struct stack *stack, uint8_t protocol, const struct address *local,
                            uint16_t local_port, const struct address *remote, uint16_t remote_port);
static inline int endpoint_is_connection(const struct endpoint *one, uint8_t protocol, const struct address *local,
                                         uint16_t local_port, const struct address *remote, uint16_t remote_port)
{
	return one->local_port == local_port && one->remote_port == remote_port && one->protocol == protocol &&
	       address_equal(&one->remote, remote) && address_equal(&one->local, local);
}

/* The one bound to `port` that fits `local` best: its own address before an unspecified one. 0: none. */
uint32_t endpoint_bound(const struct stack *stack, uint8_t protocol, const struct address *local, uint16_t port);
/* Whether another one has this address and port, so that binding to it is EADDRINUSE. */
int endpoint_is_taken(const struct stack *stack, const struct endpoint *wanted);
/* The next in the chain of those bound to `port`, after `index` (0: the first); 0: none. */
uint32_t endpoint_next_bound(const struct stack *stack, uint8_t protocol, uint16_t port, uint32_t index);

/* Whether a socket bound to `bound` hears what is sent to `address`. */
int endpoint_hears(const struct endpoint *endpoint, const struct address *address);

static inline void endpoint_changed(struct endpoint *endpoint)
{
	store_release(&endpoint->changes, endpoint->changes + 1);
}

static inline void endpoint_set_error(struct endpoint *endpoint, int error)
{
	store_relaxed(&endpoint->error, error);
	endpoint_changed(endpoint);
}

#endif
