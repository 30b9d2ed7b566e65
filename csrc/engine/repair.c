/* After a holder of the stack's lock has died: what it was about is given up, and every list is made again from what cannot have been
 * half written. The connection that it was changing is reset; packets on their way out may be lost, as on any wire. */
#include <string.h>

#include "engine/holding.h"
#include "tcp/rules.h"

/* A packet was linked behind the last, or was not: the chain from the first is whole, and ends. */
static void repair_output(struct stack *stack)
{
	struct stack_output *output = &stack->output;
	uint32_t index = output->first, count = 0;

	output->last = CELL_NONE;
	while (index && index < stack->cells && count < stack->cells) {
		count++;
		output->last = index;
		index = stack_cell(stack, index)->next;
	}
	if (output->last == CELL_NONE)
		output->first = CELL_NONE;
	output->count = count;
}

/* Packets that nobody has looked at: their senders send them again. */
static void empty_hand(struct stack *stack)
{
	uint32_t count = stack_hand_count(stack);

	for (uint32_t i = stack->hand_next; i < count; i++)
		stack_give_back_held(stack, stack->hand[i]);
	stack->hand_next = stack->hand_count = 0;
}

static void repair_tables(struct stack *stack)
{
	memset(stack_at(stack, stack->hash_offset), 0, 2 * sizeof(uint32_t) * (size_t)stack->hash_slots);
	stack->free_endpoint = stack->free_endpoints = 0;
	for (uint32_t i = stack->endpoints - 1; i > 0; i--) {
		struct endpoint *endpoint = endpoint_at(stack, i);
		enum endpoint_table table = endpoint->table;

		endpoint->table = ENDPOINT_NOWHERE;
		if (endpoint->kind == ENDPOINT_FREE) {
			endpoint->next = stack->free_endpoint;
			stack->free_endpoint = i;
			stack->free_endpoints++;
		} else if (table != ENDPOINT_NOWHERE) {
			endpoint_enter(stack, i, table);
		}
	}
}

/* What it had half changed is not looked at any more. */
static void reset_busy(struct stack *stack, uint32_t index)
{
	struct tcp *tcp = tcp_at(stack, index);

	if (!index || index >= stack->endpoints || tcp->end.kind != ENDPOINT_STREAM)
		return;
	if (tcp->state == STATE_LISTEN)
		return;
	tcp_reset_connection(stack, tcp);
}

void repair_stack(struct stack *stack)
{
	uint32_t busy = stack->busy_with;

	stack_count(stack, STACK_repairs);
	cell_stock_repair(&stack->stock, &stack->pool, stack_cells(stack));
	empty_hand(stack);
	repair_output(stack);
	repair_tables(stack);
	wheel_rebuild(&stack->wheel, stack_timers(stack), stack->endpoints);
	reset_busy(stack, busy);
	stack->busy_with = 0;
}
