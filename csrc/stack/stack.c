/* How large each part of a stack is, and where it lies. */
#include "stack/stack.h"

#include <errno.h>
#include <string.h>

#include "frame/address.h"

#define LINE 64ull
#define PAGE_BYTES 4096ull
#define HASH_SLOTS_MIN 64u
#define MS_MAX 3600000u

struct range {
	uint32_t *value;
	uint32_t normal;
	uint32_t least;
	uint32_t most;
};

int stack_settings_complete(struct stack_settings *settings)
{
	const struct range ranges[] = {
		{&settings->endpoints, 1024, 2, ENDPOINTS_MAX},
		{&settings->cells, 8192, CELLS_MIN, CELLS_MAX},
		{&settings->mtu, 1500, 576, CELL_BYTES - CELL_HEADROOM_BYTES},
		{&settings->send_bytes, 256 << 10, 2048, 1 << 30},
		{&settings->receive_bytes, 256 << 10, 2048, 1 << 30},
		{&settings->rto_min_ms, 200, 1, MS_MAX},
		{&settings->delayed_ack_ms, 40, 1, 500},
		{&settings->time_wait_ms, 60000, 1, MS_MAX},
		{&settings->initial_window, 10, 1, 64},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (!*ranges[i].value)
			*ranges[i].value = ranges[i].normal;
		if (*ranges[i].value < ranges[i].least || *ranges[i].value > ranges[i].most)
			return -EINVAL;
	}
	return 0;
}

static uint64_t lines(uint64_t bytes)
{
	return (bytes + LINE - 1) / LINE * LINE;
}

static uint32_t hash_slots_for(uint32_t endpoints)
{
	uint32_t slots = HASH_SLOTS_MIN;

	while (slots < endpoints)
		slots *= 2;
	return slots;
}

/* Every size and offset; what is returned is the size of all. */
static uint64_t measure(const struct stack_settings *settings, struct stack *stack)
{
	uint64_t at = lines(sizeof(*stack));

	stack->endpoints = settings->endpoints;
	stack->cells = settings->cells;
	stack->hash_slots = hash_slots_for(settings->endpoints);
	stack->endpoints_offset = (uint32_t)at;
	at += lines((uint64_t)ENDPOINT_BYTES * settings->endpoints);
	stack->facts_offset = (uint32_t)at;
	at += lines(sizeof(struct cell) * (uint64_t)settings->cells);
	stack->timers_offset = (uint32_t)at;
	at += lines(sizeof(struct wheel_node) * (uint64_t)settings->endpoints);
	stack->works_offset = (uint32_t)at;
	at += lines(sizeof(struct work_node) * (uint64_t)settings->endpoints);
	stack->hash_offset = (uint32_t)at;
	at += lines(2 * sizeof(uint32_t) * (uint64_t)stack->hash_slots);
	stack->data_offset = (at + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES; /* as a UMEM must begin */
	return stack->data_offset + (uint64_t)CELL_BYTES * settings->cells;
}

size_t stack_bytes(const struct stack_settings *settings)
{
	struct stack scratch;

	return measure(settings, &scratch);
}

int stack_lay_out(struct stack *stack, size_t bytes, const struct stack_settings *settings, uint64_t now_ns)
{
	uint64_t wanted = measure(settings, stack);

	if ((uintptr_t)stack % LINE)
		return -EINVAL;
	if (wanted > bytes)
		return -ENOSPC;
	stack->bytes = wanted;
	stack->settings = *settings;
	stack->now_ns = now_ns;
	stack->output = (struct stack_output){.first = CELL_NONE, .last = CELL_NONE};
	cells_make(&stack->pool, &stack->stock, stack_cells(stack), stack->cells);
	cell_take(&stack->pool, stack_cells(stack)); /* number 0 */
	wheel_make(&stack->wheel, stack_timers(stack), stack->endpoints, now_ns / STACK_NS_PER_TICK);
	work_make(&stack->work, stack_works(stack), stack->endpoints);
	return 0;
}

int stack_copy_in(struct stack *stack, const uint8_t *packet, uint32_t bytes)
{
	uint32_t index = stack_take_cell_held(stack);
	struct cell *cell;

	if (unlikely(index >= stack->cells))
		return 0;
	stack_hold(stack, index);
	cell = stack_cells(stack) + index;
	*cell = (struct cell){.bytes = (uint16_t)bytes};
	cpu_hide(bytes);
	memcpy(stack_at(stack, stack->data_offset + (uint64_t)index * CELL_BYTES), packet, bytes);
	return 1;
}

int stack_has_address(const struct stack *stack, const struct address *address)
{
	for (uint32_t i = 0; i < stack->address_count && i < STACK_ADDRESSES_MAX; i++)
		if (address_equal(&stack->addresses[i], address))
			return 1;
	return !stack->address_count;
}
