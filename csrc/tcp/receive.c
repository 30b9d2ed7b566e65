/* From a packet to the connection or listener that it is for (RFC 9293, 3.10.7.1 where there is none). */
#include "tcp/rules.h"

/* Nobody speaks TCP to many (RFC 1122, 4.2.3.10). */
static int is_for_one(const struct packet *packet)
{
	return !address_is_multicast(&packet->destination) && !address_is_broadcast(&packet->destination);
}

static uint32_t find_listener(const struct stack *stack, const struct arrival *arrival)
{
	uint32_t index =
		endpoint_bound(stack, PROTOCOL_TCP, &arrival->packet->destination, arrival->segment.destination_port);

	return tcp_at(stack, index)->state == STATE_LISTEN ? index : 0;
}

static uint32_t find(struct stack *stack, const struct arrival *arrival)
{
	const struct packet *packet = arrival->packet;
	const struct segment *segment = &arrival->segment;
	uint32_t index = endpoint_connected(stack, PROTOCOL_TCP, &packet->destination, segment->destination_port,
	                                    &packet->source, segment->source_port);

	if (!index)
		return find_listener(stack, arrival);
	if (idle_may_reuse(tcp_at(stack, index), segment)) {
		tcp_end(stack, tcp_at(stack, index), 0);
		stack_count(stack, STACK_time_wait_reused);
		return find_listener(stack, arrival);
	}
	return index;
}

static void deliver(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	uint32_t index = find(stack, arrival);

	arrival->tcp = tcp_at(stack, index);
	stack->busy_with = index;
	if (!index) {
		stack->drops[DROP_not_for_us]++;
		emit_reset_for(stack, arrival->packet, &arrival->segment);
	} else if (arrival->tcp->state == STATE_LISTEN) {
		listen_segment(arrival);
	} else {
		stack_count(stack, STACK_segments_in);
		input_segment(arrival);
	}
	stack->busy_with = 0;
}

void tcp_receive(struct stack *stack, uint32_t cell, const struct packet *packet)
{
	struct arrival arrival = {.stack = stack, .packet = packet, .cell = cell};
	const uint8_t *from = stack_cell_bytes(stack, cell) + stack_cell(stack, cell)->offset + packet->payload_offset;
	int is_checked = stack_cell(stack, cell)->note & CELL_CHECKED;
	enum drop drop = is_for_one(packet) ? segment_parse(from, packet, is_checked, &arrival.segment) : DROP_bad_address;

	if (drop != DROP_none)
		stack->drops[drop]++;
	else
		deliver(&arrival);
	stack_give_back_held(stack, arrival.cell);
}
