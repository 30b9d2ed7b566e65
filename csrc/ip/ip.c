#include "ip/ip.h"

uint32_t ip_take_cell(struct stack *stack)
{
	uint32_t index = stack_take_cell_held(stack);

	if (index == CELL_NONE || !index) {
		stack_count(stack, STACK_no_cell);
		return 0;
	}
	return index;
}

void ip_send_packet(struct stack *stack, uint32_t index, uint32_t interface)
{
	struct stack_output *output = &stack->output;
	struct cell *cell = stack_cell(stack, index);

	cell->sequence = interface;
	cell->next = CELL_NONE;
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
	packet->hop_limit = ip_hop_limit(packet->hop_limit);
	cell->offset = (uint16_t)(cell->offset - header);
	cell->bytes = (uint16_t)(cell->bytes + header);
	packet_build(stack_cell_bytes(stack, index) + cell->offset, packet, (uint16_t)stack->output.identification++);
	ip_send_packet(stack, index, interface);
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
