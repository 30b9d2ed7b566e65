/* Two hash tables of chains. The hash is quick rather than hard: the secret keeps strangers from choosing addresses that meet in one
 * chain, and a walk is bounded by the count of endpoints. */
#include "stack/endpoint.h"

#include <string.h>

#define MIX 0x9e3779b97f4a7c15ull

static uint64_t mix(uint64_t value, uint64_t more)
{
	unsigned __int128 product = (unsigned __int128)(value ^ more) * MIX;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_address(uint64_t value, const struct address *address)
{
	uint64_t halves[2];

	memcpy(halves, address->bytes, sizeof(halves));
	return mix(mix(value, halves[0]), halves[1]);
}

static uint32_t *slots(const struct stack *stack, enum endpoint_table table)
{
	return (uint32_t *)stack_at(stack, stack->hash_offset) + (table == ENDPOINT_CONNECTED ? stack->hash_slots : 0);
}

static uint32_t *chain_connected(const struct stack *stack, uint8_t protocol, const struct address *local,
                                 uint16_t local_port, const struct address *remote, uint16_t remote_port)
{
	uint64_t ports = (uint64_t)protocol << 32 | (uint64_t)local_port << 16 | remote_port;
	uint64_t hash = hash_address(hash_address(mix(stack->settings.secret.key[0], ports), local), remote);

	return slots(stack, ENDPOINT_CONNECTED) + (hash & (stack->hash_slots - 1));
}

static uint32_t *chain_bound(const struct stack *stack, uint8_t protocol, uint16_t port)
{
	uint64_t hash = mix(stack->settings.secret.key[1], (uint64_t)protocol << 16 | port);

	return slots(stack, ENDPOINT_BOUND) + (hash & (stack->hash_slots - 1));
}

static uint32_t *chain_of(const struct stack *stack, const struct endpoint *one, enum endpoint_table table)
{
	if (table == ENDPOINT_BOUND)
		return chain_bound(stack, one->protocol, one->local_port);
	return chain_connected(stack, one->protocol, &one->local, one->local_port, &one->remote, one->remote_port);
}

void endpoints_make(struct stack *stack)
{
	stack->free_endpoint = 0;
	for (uint32_t i = stack->endpoints - 1; i > 0; i--) {
		endpoint_at(stack, i)->next = stack->free_endpoint;
		stack->free_endpoint = i;
	}
	stack->free_endpoints = stack->endpoints - 1;
}

uint32_t endpoint_take(struct stack *stack, enum endpoint_kind kind, uint8_t protocol)
{
	uint32_t index = stack->free_endpoint;
	struct endpoint *endpoint = endpoint_at(stack, index);

	if (!index)
		return 0;
	stack->free_endpoint = endpoint->next;
	stack->free_endpoints--;
	memset(endpoint, 0, ENDPOINT_BYTES);
	endpoint->kind = (uint8_t)kind;
	endpoint->protocol = protocol;
	return index;
}

void endpoint_give_back(struct stack *stack, uint32_t index)
{
	struct endpoint *endpoint = endpoint_at(stack, index);

	endpoint_leave(stack, index);
	endpoint->kind = ENDPOINT_FREE;
	endpoint->next = stack->free_endpoint;
	stack->free_endpoint = index;
	stack->free_endpoints++;
}

void endpoint_enter(struct stack *stack, uint32_t index, enum endpoint_table table)
{
	struct endpoint *endpoint = endpoint_at(stack, index);
	uint32_t *chain;

	endpoint_leave(stack, index);
	chain = chain_of(stack, endpoint, table);
	endpoint->table = (uint8_t)table;
	endpoint->hash_next = *chain;
	*chain = index;
}

void endpoint_leave(struct stack *stack, uint32_t index)
{
	struct endpoint *endpoint = endpoint_at(stack, index);
	uint32_t *link;

	if (endpoint->table == ENDPOINT_NOWHERE)
		return;
	link = chain_of(stack, endpoint, endpoint->table);
	for (uint32_t walked = 0; *link && *link != index && walked < stack->endpoints; walked++)
		link = &endpoint_at(stack, *link)->hash_next;
	if (*link == index)
		*link = endpoint->hash_next;
	endpoint->table = ENDPOINT_NOWHERE;
	endpoint->hash_next = 0;
}

uint32_t endpoint_connected(const struct stack *stack, uint8_t protocol, const struct address *local,
                            uint16_t local_port, const struct address *remote, uint16_t remote_port)
{
	uint32_t index = *chain_connected(stack, protocol, local, local_port, remote, remote_port);

	for (uint32_t walked = 0; index && walked < stack->endpoints; walked++) {
		const struct endpoint *one = endpoint_at(stack, index);

		if (endpoint_is_connection(one, protocol, local, local_port, remote, remote_port))
			return index;
		index = one->hash_next;
	}
	return 0;
}

uint32_t endpoint_next_bound(const struct stack *stack, uint8_t protocol, uint16_t port, uint32_t index)
{
	index = index ? endpoint_at(stack, index)->hash_next : *chain_bound(stack, protocol, port);
	for (uint32_t walked = 0; index && walked < stack->endpoints; walked++) {
		const struct endpoint *one = endpoint_at(stack, index);

		if (one->protocol == protocol && one->local_port == port)
			return index;
		index = one->hash_next;
	}
	return 0;
}

/* An unspecified IPv6 address stands for IPv4's too (RFC 3493, 3.7), unless it must not. */
int endpoint_hears(const struct endpoint *endpoint, const struct address *address)
{
	if (!address_is_unspecified(&endpoint->local))
		return address_equal(&endpoint->local, address);
	if (address_is_ipv4(address))
		return address_is_ipv4(&endpoint->local) || !endpoint->is_v6_only;
	return !address_is_ipv4(&endpoint->local);
}

uint32_t endpoint_bound(const struct stack *stack, uint8_t protocol, const struct address *local, uint16_t port)
{
	uint32_t best = 0;

	for (uint32_t index = endpoint_next_bound(stack, protocol, port, 0); index;
	     index = endpoint_next_bound(stack, protocol, port, index)) {
		const struct endpoint *one = endpoint_at(stack, index);

		if (endpoint_hears(one, local) && (!best || !address_is_unspecified(&one->local)))
			best = index;
	}
	return best;
}

/* Whether one of two sockets would hear what the other is there for. */
static int collide(const struct endpoint *one, const struct endpoint *other)
{
	return (endpoint_hears(one, &other->local) || endpoint_hears(other, &one->local)) &&
	       !(one->may_share_port && other->may_share_port);
}

int endpoint_is_taken(const struct stack *stack, const struct endpoint *wanted)
{
	for (uint32_t index = endpoint_next_bound(stack, wanted->protocol, wanted->local_port, 0); index;
	     index = endpoint_next_bound(stack, wanted->protocol, wanted->local_port, index))
		if (endpoint_at(stack, index) != wanted && collide(endpoint_at(stack, index), wanted))
			return 1;
	return 0;
}
