#include "ip/ip.h"

#define HOP_LIMIT 64 /* RFC 1700; RFC 1122, 3.2.1.7 */

uint32_t ip_take_cell(struct stack *stack)
{
	uint32_t index = stack_take_cell(stack);

	if (index == CELL_NONE || !index) {
		stack_count(stack, STACK_no_cell);
		return 0;
	}
	return index;
}

static void put_on_list(struct stack *stack, uint32_t index)
{
	struct stack_output *output = &stack->output;

	stack_cell(stack, index)->next = CELL_NONE;
	if (output->last == CELL_NONE)
		output->first = index;
	else
		stack_cell(stack, output->last)->next = index;
	output->last = index;
	output->count++;
}

void ip_send(struct stack *stack, uint32_t index, struct packet *packet, uint32_t interface)
{
	struct cell *cell = stack_cell(stack, index);
	uint32_t header = ip_header_bytes(&packet->destination);

	packet->payload_bytes = cell->bytes;
	if (!packet->hop_limit)
		packet->hop_limit = HOP_LIMIT;
	cell->offset = (uint16_t)(cell->offset - header);
	cell->bytes = (uint16_t)(cell->bytes + header);
	cell->sequence = interface;
	packet_build(stack_cell_bytes(stack, index) + cell->offset, packet, (uint16_t)stack->output.identification++);
	put_on_list(stack, index);
}

uint32_t ip_next_packet(struct stack *stack)
{
	struct stack_output *output = &stack->output;
	uint32_t index = output->first;

	if (index == CELL_NONE)
		return 0;
	output->first = stack_cell(stack, index)->next;
	if (output->first == CELL_NONE)
		output->last = CELL_NONE;
	output->count--;
	stack_count(stack, STACK_packets_out);
	return index;
}
