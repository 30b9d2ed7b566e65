/* The stack as a function of packets and time: made, handed packets, asked for packets (docs/engine.md, section 1). */
#include <errno.h>

#include "engine/engine.h"
#include "engine/holding.h"
#include "frame/icmp.h"
#include "ip/ip.h"
#include "tcp/rules.h"

/* -- the lock ------------------------------------------------------------------------------------------------------------- */

static void serve(void *of, uint32_t index)
{
	tcp_serve(of, index);
}

void holding_begin(struct stack *stack, uint64_t now_ns)
{
	if (unlikely(work_hold(&stack->work)))
		repair_stack(stack);
	stack_tell_time(stack, now_ns);
}

int holding_try(struct stack *stack, uint64_t now_ns)
{
	if (unlikely(!lock_try(&stack->work.lock)))
		return 0;
	stack_tell_time(stack, now_ns);
	return 1;
}

void holding_end(struct stack *stack)
{
	work_release(&stack->work, stack_works(stack), serve, stack);
}

/* The time is told without the lock: two that tell it at once differ by less than anything depends on. */
void holding_leave_work(struct stack *stack, uint32_t socket, uint64_t now_ns)
{
	stack_tell_time(stack, now_ns);
	work_leave(&stack->work, stack_works(stack), socket, serve, stack);
}

/* -- making --------------------------------------------------------------------------------------------------------------- */

int64_t byway_stack_bytes(struct stack_settings *settings)
{
	int refused = stack_settings_complete(settings);

	return refused ? refused : (int64_t)stack_bytes(settings);
}

int byway_stack_make(void *memory, uint64_t bytes, const struct stack_settings *settings, uint64_t now_ns)
{
	struct stack_settings complete = *settings;
	struct stack *stack = memory;
	int refused = stack_settings_complete(&complete);

	if (!refused)
		refused = stack_lay_out(stack, bytes, &complete, now_ns);
	if (refused)
		return refused;
	endpoints_make(stack);
	stack->layout_hash = BYWAY_STACK_HASH;
	store_release(&stack->magic, STACK_MAGIC);
	return 0;
}

int byway_stack_check(const void *memory, uint64_t bytes)
{
	const struct stack *stack = memory;

	if (bytes < sizeof(*stack) || load_acquire(&stack->magic) != STACK_MAGIC || stack->bytes > bytes)
		return -EINVAL;
	return stack->layout_hash == BYWAY_STACK_HASH ? 0 : -EPROTO;
}

uint64_t byway_stack_cells(const struct stack *stack, uint64_t *bytes)
{
	*bytes = (uint64_t)stack->cells * CELL_BYTES;
	return stack->data_offset;
}

int byway_stack_add_address(struct stack *stack, const struct address *address)
{
	int result = -ENOSPC;

	holding_begin(stack, 0);
	if (stack->address_count < STACK_ADDRESSES_MAX) {
		stack->addresses[stack->address_count++] = *address;
		result = 0;
	}
	holding_end(stack);
	return result;
}

#define FIRST_COUNTER 100u
#define FIRST_DROP 1000u

int byway_stack_state(const struct stack *stack, uint32_t number, uint64_t *value)
{
	if (number == 0)
		*value = stack_free_cells(stack);
	else if (number == 1)
		*value = stack->free_endpoints;
	else if (number == 2)
		*value = stack->output.count;
	else if (number - FIRST_COUNTER < STACK_COUNTERS)
		*value = stack->counters[number - FIRST_COUNTER];
	else if (number - FIRST_DROP < DROP_COUNT)
		*value = stack->drops[number - FIRST_DROP];
	else
		return -EINVAL;
	return 0;
}

/* -- packets in ----------------------------------------------------------------------------------------------------------- */

static void receive_error(struct stack *stack, uint32_t cell, const struct packet *packet)
{
	const uint8_t *from = stack_cell_bytes(stack, cell) + stack_cell(stack, cell)->offset + packet->payload_offset;
	struct icmp_error error;
	enum drop drop = icmp_parse(from, packet, &error);

	stack->drops[drop] += drop != DROP_none;
	if (drop == DROP_none && error.kind != ICMP_OTHER) {
		if (error.protocol == PROTOCOL_TCP)
			tcp_receive_error(stack, &error);
		else if (error.protocol == PROTOCOL_UDP)
			udp_receive_error(stack, &error);
	}
	stack_give_back_held(stack, cell);
}

static void drop_packet(struct stack *stack, uint32_t cell, enum drop drop)
{
	stack->drops[drop]++;
	stack_give_back_held(stack, cell);
}

static int is_for_us(const struct stack *stack, const struct packet *packet)
{
	if (address_is_unspecified(&packet->destination))
		return 0;
	return stack_has_address(stack, &packet->destination) || address_is_multicast(&packet->destination) ||
	       address_is_broadcast(&packet->destination);
}

/* The lock is held; the cell is the stack's from here. */
static void receive_packet(struct stack *stack, uint32_t cell, uint32_t interface)
{
	struct cell *facts = stack_cell(stack, cell);
	const uint8_t *from = stack_cell_bytes(stack, cell) + facts->offset;
	struct packet packet;
	enum drop drop;

	if (facts->offset + facts->bytes > CELL_BYTES) {
		drop_packet(stack, cell, DROP_short_frame);
		return;
	}
	drop = packet_parse(from, facts->bytes, &packet);
	stack_count(stack, STACK_packets_in);
	if (drop != DROP_none)
		drop_packet(stack, cell, drop);
	else if (!is_for_us(stack, &packet))
		drop_packet(stack, cell, DROP_not_for_us);
	else if (packet.protocol == PROTOCOL_TCP)
		tcp_receive(stack, cell, &packet);
	else if (packet.protocol == PROTOCOL_UDP)
		udp_receive(stack, cell, &packet, interface);
	else if (packet.protocol == PROTOCOL_ICMP || packet.protocol == PROTOCOL_ICMPV6)
		receive_error(stack, cell, &packet);
	else
		drop_packet(stack, cell, DROP_not_for_us);
}

void holding_receive(struct stack *stack, uint32_t interface)
{
	uint32_t next;

	while ((next = expected_receive(stack)) < stack_hand_count(stack)) {
		stack_take_from_hand(stack);
		receive_packet(stack, stack->hand[next], interface);
	}
	stack->hand_next = stack->hand_count = 0;
}

uint32_t byway_stack_receive(struct stack *stack, const uint8_t *packets, const uint32_t *lengths, uint32_t count,
                             uint32_t interface, uint64_t now_ns)
{
	uint32_t done = 0, is_taken = 1;

	holding_begin(stack, now_ns);
	while (is_taken && done < count) {
		while (done < count && stack->hand_count < STACK_BATCH &&
		       (is_taken = lengths[done] <= CELL_BYTES && stack_copy_in(stack, packets, lengths[done])))
			packets += lengths[done++];
		holding_receive(stack, interface);
	}
	holding_end(stack);
	return done;
}

/* -- time, and packets out ------------------------------------------------------------------------------------------------ */

int holding_timers_are_due(const struct stack *stack, uint64_t now_ns)
{
	return now_ns / STACK_NS_PER_TICK > load_relaxed(&stack->wheel.now);
}

void holding_run_due(struct stack *stack)
{
	uint64_t tick = stack->now_ns / STACK_NS_PER_TICK;
	uint32_t index;

	while ((index = wheel_take(&stack->wheel, stack_timers(stack), tick)) != WHEEL_NONE)
		if (endpoint_at(stack, index)->kind == ENDPOINT_STREAM)
			tcp_run_timers(stack, index);
}

uint64_t byway_stack_run_timers(struct stack *stack, uint64_t now_ns)
{
	uint64_t next;

	holding_begin(stack, now_ns);
	holding_run_due(stack);
	next = wheel_next(&stack->wheel);
	holding_end(stack);
	return next == WHEEL_NEVER ? STACK_NEVER : next * STACK_NS_PER_TICK;
}

uint32_t byway_stack_transmit_cell(struct stack *stack)
{
	uint32_t cell;

	if (load_relaxed(&stack->output.first) == CELL_NONE)
		return 0;
	holding_begin(stack, 0);
	cell = ip_next_packet(stack);
	holding_end(stack);
	return cell;
}

int byway_stack_transmit(struct stack *stack, uint8_t *to, uint32_t room, uint32_t *interface)
{
	uint32_t cell;
	struct cell *facts;

	if (room < CELL_BYTES)
		return -EMSGSIZE;
	cell = byway_stack_transmit_cell(stack);
	if (!cell)
		return 0;
	facts = stack_cell(stack, cell);
	*interface = facts->sequence;
	room = facts->bytes;
	memcpy(to, stack_cell_bytes(stack, cell) + facts->offset, room);
	stack_give_back(stack, cell);
	return (int)room;
}
