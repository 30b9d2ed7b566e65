/* Sending (RFC 768), groups, and errors that come back. */
#include <errno.h>

#include "frame/datagram.h"
#include "ip/error.h"
#include "ip/ip.h"
#include "udp/udp.h"

void udp_defaults(const struct stack *stack, struct udp *udp)
{
	udp->receive_bytes = stack->settings.receive_bytes;
	udp->multicast_hop_limit = 1;
	udp->multicast_loop = 1;
}

/* The socket's own address, if it is one; else the stack's first of the family (who knows routes binds to a better one). NULL: it has none. */
static const struct address *source_of(const struct stack *stack, const struct udp *udp)
{
	const struct address *local = &udp->end.local;

	if (!address_is_unspecified(local) && !address_is_multicast(local) && !address_is_broadcast(local))
		return local;
	for (uint32_t i = 0; i < stack->address_count && i < STACK_ADDRESSES_MAX; i++)
		if (address_is_ipv4(&stack->addresses[i]) == address_is_ipv4(local))
			return &stack->addresses[i];
	return NULL;
}

/* 0, or why a datagram of `bytes` bytes cannot go to `to`. */
static int refusal(const struct stack *stack, const struct udp *udp, const struct address *to, uint32_t bytes)
{
	if (address_is_ipv4(to) != address_is_ipv4(&udp->end.local))
		return -EAFNOSUPPORT;
	if (!source_of(stack, udp))
		return -EADDRNOTAVAIL;
	if (address_is_broadcast(to) && !udp->is_broadcaster)
		return -EACCES;
	return ip_header_bytes(to) + DATAGRAM_HEADER_BYTES + bytes > stack->settings.mtu ? -EMSGSIZE : 0;
}

static void build(struct stack *stack, const struct udp *udp, uint32_t index, struct packet *packet, uint16_t port)
{
	struct cell *cell = stack_cell(stack, index);
	struct datagram datagram = {.source_port = udp->end.local_port,
	                            .destination_port = port,
	                            .payload_bytes = packet->payload_bytes - DATAGRAM_HEADER_BYTES};

	cell->offset = CELL_HEADROOM_BYTES - DATAGRAM_HEADER_BYTES;
	cell->bytes = (uint16_t)packet->payload_bytes;
	datagram_build(stack_cell_bytes(stack, index) + cell->offset, packet, &datagram);
	ip_send(stack, index, packet, udp->end.interface);
}

int udp_send(struct stack *stack, uint32_t socket, const struct address *to, uint16_t port, const uint8_t *from,
             uint32_t bytes)
{
	struct udp *udp = udp_at(stack, socket);
	int refused = refusal(stack, udp, to, bytes);
	uint32_t index = refused ? 0 : ip_take_cell(stack);
	struct packet packet = {
		.destination = *to,
		.protocol = PROTOCOL_UDP,
		.hop_limit = address_is_multicast(to) ? udp->multicast_hop_limit : udp->end.hop_limit,
		.traffic_class = udp->end.traffic_class,
		.payload_bytes = DATAGRAM_HEADER_BYTES + bytes,
	};

	if (refused)
		return refused;
	if (!index)
		return -ENOBUFS;
	packet.source = *source_of(stack, udp);
	memcpy(stack_cell_bytes(stack, index) + CELL_HEADROOM_BYTES, from, bytes);
	build(stack, udp, index, &packet, port);
	stack_count(stack, STACK_datagrams_out);
	return (int)bytes;
}

static uint32_t find_group(const struct udp *udp, const struct address *group, uint32_t interface)
{
	for (uint32_t i = 0; i < udp->group_count && i < UDP_GROUPS_MAX; i++)
		if (address_equal(&udp->groups[i].address, group) && udp->groups[i].interface == interface)
			return i;
	return UDP_GROUPS_MAX;
}

int udp_join(struct stack *stack, uint32_t index, const struct address *group, uint32_t interface)
{
	struct udp *udp = udp_at(stack, index);

	if (!address_is_multicast(group))
		return -EINVAL;
	if (find_group(udp, group, interface) != UDP_GROUPS_MAX)
		return -EADDRINUSE;
	if (udp->group_count >= UDP_GROUPS_MAX)
		return -ENOBUFS;
	udp->groups[udp->group_count++] = (struct udp_group){*group, interface};
	return 0;
}

int udp_leave(struct stack *stack, uint32_t index, const struct address *group, uint32_t interface)
{
	struct udp *udp = udp_at(stack, index);
	uint32_t found = find_group(udp, group, interface);

	if (found == UDP_GROUPS_MAX)
		return -EADDRNOTAVAIL;
	udp->groups[found] = udp->groups[--udp->group_count];
	return 0;
}

void udp_receive_error(struct stack *stack, const struct icmp_error *error)
{
	uint32_t index = endpoint_connected(stack, PROTOCOL_UDP, &error->source, error->source_port, &error->destination,
	                                    error->destination_port);

	if (!index)
		stack_count(stack, STACK_icmp_ignored);
	else if (error->kind != ICMP_SOFT)
		endpoint_set_error(endpoint_at(stack, index), ip_error_number(error));
}
