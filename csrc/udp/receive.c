/* Which sockets a datagram is for, and the queue in which it waits. */
#include <errno.h>

#include "frame/datagram.h"
#include "udp/udp.h"

#define OVERHEAD_BYTES 256u /* that a datagram counts for beside its payload, so that empty ones fill a buffer too */

/* -- the writer's side ---------------------------------------------------------------------------------------------------- */

/* The cell becomes the socket's: its bytes are the packet, `note` is the interface by which it came. */
static void put(struct stack *stack, struct udp *udp, uint32_t index, uint32_t cost)
{
	store_relaxed(&stack_cell(stack, index)->next, CELL_NONE);
	if (udp->last)
		store_release(&stack_cell(stack, udp->last)->next, index);
	else
		store_release(&udp->begin, index);
	udp->last = index;
	udp->put_bytes += cost;
	store_release(&udp->put, udp->put + 1);
	stack_count(stack, STACK_datagrams_in);
	endpoint_changed(&udp->end);
}

static int has_room(const struct udp *udp, uint32_t cost)
{
	return udp->put_bytes - load_acquire(&udp->taken_bytes) + cost <= udp->receive_bytes;
}

/* 1: the socket has the cell. */
static int offer(struct stack *stack, uint32_t socket, uint32_t cell, const struct datagram *datagram)
{
	struct udp *udp = udp_at(stack, socket);
	uint32_t cost = datagram->payload_bytes + OVERHEAD_BYTES;

	if (!has_room(udp, cost) || stack_is_short(stack, RESERVE_OUT_OF_ORDER)) {
		stack_count(stack, STACK_datagrams_dropped);
		return 0;
	}
	put(stack, udp, cell, cost);
	return 1;
}

static void offer_copy(struct stack *stack, uint32_t socket, uint32_t cell, const struct datagram *datagram)
{
	uint32_t index = stack_take_cell_held(stack);
	struct cell *copy = stack_cell(stack, index), *original = stack_cell(stack, cell);

	if (index == CELL_NONE) {
		stack_count(stack, STACK_datagrams_dropped);
		return;
	}
	*copy = *original;
	memcpy(stack_cell_bytes(stack, index) + copy->offset, stack_cell_bytes(stack, cell) + original->offset,
	       copy->bytes);
	if (!offer(stack, socket, index, datagram))
		stack_give_back_held(stack, index);
}

/* -- whose it is ---------------------------------------------------------------------------------------------------------- */

static int is_member(const struct udp *udp, const struct address *group, uint32_t interface)
{
	for (uint32_t i = 0; i < udp->group_count && i < UDP_GROUPS_MAX; i++)
		if (address_equal(&udp->groups[i].address, group) &&
		    (!udp->groups[i].interface || !interface || udp->groups[i].interface == interface))
			return 1;
	return 0;
}

/* Whether a socket in the table of bound ones hears what was sent to many: a member of the group, or of all for a broadcast. */
static int hears_many(const struct udp *udp, const struct packet *packet, uint32_t interface)
{
	if (!address_is_unspecified(&udp->end.local) && !address_equal(&udp->end.local, &packet->destination))
		return 0;
	if (udp->end.interface && interface && udp->end.interface != interface)
		return 0;
	return address_is_broadcast(&packet->destination) || is_member(udp, &packet->destination, interface);
}

/* RFC 1122, 4.1.3.6 and RFC 1112: a copy for each. */
static void deliver_to_many(struct stack *stack, uint32_t cell, const struct packet *packet,
                            const struct datagram *datagram)
{
	uint32_t interface = stack_cell(stack, cell)->note;
	uint32_t index = 0;

	while ((index = endpoint_next_bound(stack, PROTOCOL_UDP, datagram->destination_port, index)))
		if (hears_many(udp_at(stack, index), packet, interface))
			offer_copy(stack, index, cell, datagram);
	stack_give_back_held(stack, cell);
}

static uint32_t find(const struct stack *stack, const struct packet *packet, const struct datagram *datagram)
{
	uint32_t index = endpoint_connected(stack, PROTOCOL_UDP, &packet->destination, datagram->destination_port,
	                                    &packet->source, datagram->source_port);

	return index ? index : endpoint_bound(stack, PROTOCOL_UDP, &packet->destination, datagram->destination_port);
}

static void deliver_to_one(struct stack *stack, uint32_t cell, const struct packet *packet,
                           const struct datagram *datagram)
{
	uint32_t index = find(stack, packet, datagram);

	if (!index)
		stack
			->drops[DROP_not_for_us]++; /* the kernel answers with port unreachable: it has all that is nobody's here */
	if (!index || !offer(stack, index, cell, datagram))
		stack_give_back_held(stack, cell);
}

void udp_receive(struct stack *stack, uint32_t cell, const struct packet *packet, uint32_t interface)
{
	const uint8_t *from = stack_cell_bytes(stack, cell) + stack_cell(stack, cell)->offset + packet->payload_offset;
	struct datagram datagram;
	enum drop drop = datagram_parse(from, packet, stack_cell(stack, cell)->note & CELL_CHECKED, &datagram);

	if (drop != DROP_none) {
		stack->drops[drop]++;
		stack_give_back_held(stack, cell);
		return;
	}
	stack_cell(stack, cell)->note = interface;
	if (address_is_multicast(&packet->destination) || address_is_broadcast(&packet->destination))
		deliver_to_many(stack, cell, packet, &datagram);
	else
		deliver_to_one(stack, cell, packet, &datagram);
}

/* -- the reader's side ---------------------------------------------------------------------------------------------------- */

/* The cell of the next datagram; 0: nothing waits, or the chain is nonsense. */
static uint32_t next_cell(const struct stack *stack, const struct udp *udp)
{
	uint32_t next = udp->first ? load_acquire(&stack_cell(stack, udp->first)->next) : load_acquire(&udp->begin);

	return udp_waiting(udp) && next < stack->cells ? next : 0;
}

/* The datagram is read; its cell stays until the next one is, since the writer links behind it. */
static void pass(struct stack *stack, struct udp *udp, uint32_t index, uint32_t cost)
{
	stack_give_back(stack, udp->first);
	udp->first = index;
	store_release(&udp->taken_bytes, udp->taken_bytes + cost);
	store_release(&udp->taken, udp->taken + 1);
}

static void describe(struct udp_arrival *arrival, const struct packet *packet, const struct datagram *datagram,
                     uint32_t note)
{
	*arrival = (struct udp_arrival){
		.source = packet->source,
		.destination = packet->destination,
		.source_port = datagram->source_port,
		.interface = note,
		.bytes = datagram->payload_bytes,
		.hop_limit = packet->hop_limit,
		.traffic_class = packet->traffic_class,
	};
}

/* The headers are read again, where they lie: another process may have changed them, so they are judged again. */
int udp_take(struct stack *stack, struct udp *udp, uint8_t *to, uint32_t bytes, int peek, struct udp_arrival *arrival)
{
	uint32_t index = next_cell(stack, udp);
	struct cell cell = *stack_cell(stack, index);
	const uint8_t *from = stack_cell_bytes(stack, index) + cell.offset % CELL_BYTES;
	struct packet packet = {0};
	struct datagram datagram = {0};

	if (!index)
		return -EAGAIN;
	if (cell.offset + cell.bytes <= CELL_BYTES && packet_parse(from, cell.bytes, &packet) == DROP_none)
		datagram_parse(from + packet.payload_offset, &packet, 1, &datagram);
	describe(arrival, &packet, &datagram, cell.note);
	if (bytes > datagram.payload_bytes)
		bytes = datagram.payload_bytes;
	memcpy(to, from + packet.payload_offset + DATAGRAM_HEADER_BYTES, bytes);
	if (!peek)
		pass(stack, udp, index, datagram.payload_bytes + OVERHEAD_BYTES);
	return (int)bytes;
}

void udp_end(struct stack *stack, uint32_t index)
{
	struct udp *udp = udp_at(stack, index);
	uint32_t cell = udp->first ? udp->first : udp->begin;

	for (uint32_t walked = 0; cell && cell < stack->cells && walked < stack->cells; walked++) {
		uint32_t next = stack_cell(stack, cell)->next;

		stack_give_back_held(stack, cell);
		cell = next;
	}
	endpoint_give_back(stack, index);
}
