/* What the other side wrote is bounded where it is read: a cell by its index, bytes by the cell's size, a walk by the count of cells. */
#include "stack/byte_queue.h"

#include <string.h>

#define COPIED_MAX 512u /* bytes: less is copied behind the last cell's rather than keeping a cell of its own */

static uint32_t least(uint32_t one, uint32_t other)
{
	return one < other ? one : other;
}

/* Bytes of a cell that lie in it, whatever its facts say. */
static inline uint32_t cell_bytes(const struct cell *cell)
{
	uint32_t offset = load_relaxed(&cell->offset), bytes = load_relaxed(&cell->bytes);

	return offset + bytes <= CELL_BYTES ? bytes : 0;
}

static const uint8_t *cell_from(const struct stack *stack, uint32_t index)
{
	return stack_cell_bytes(stack, index) + load_relaxed(&stack_cell(stack, index)->offset) % CELL_BYTES;
}

/* -- the writer ----------------------------------------------------------------------------------------------------------- */

/* As much as goes into the last cell; how much. `at_least`: less is not done at all. */
static inline uint32_t add(struct stack *stack, struct byte_queue *queue, const uint8_t *from, uint32_t bytes,
                           uint32_t at_least)
{
	struct cell *cell = stack_cell(stack, queue->last);
	uint32_t end = (uint32_t)cell->offset + cell->bytes, done = least(bytes, CELL_BYTES - least(CELL_BYTES, end));

	if (!queue->last || done < at_least)
		return 0;
	memcpy(stack_cell_bytes(stack, queue->last) + end, from, done);
	store_relaxed(&cell->bytes, (uint16_t)(cell->bytes + done));
	store_release(&queue->written, queue->written + done);
	return done;
}

static int add_empty_cell(struct stack *stack, struct byte_queue *queue)
{
	uint32_t index = stack_is_short(stack, RESERVE_SEND) ? CELL_NONE : stack_take_cell(stack);
	struct cell *cell;

	if (index == CELL_NONE)
		return 0;
	cell = stack_cell(stack, index);
	cell->offset = CELL_HEADROOM_BYTES;
	cell->bytes = 0;
	byte_queue_append(stack, queue, index, cell, 0);
	return 1;
}

uint32_t byte_queue_write(struct stack *stack, struct byte_queue *queue, const uint8_t *from, uint32_t bytes)
{
	uint32_t done = 0;

	while (done < bytes) {
		uint32_t part = add(stack, queue, from + done, bytes - done, 1);

		if (!part && !add_empty_cell(stack, queue))
			break;
		done += part;
	}
	return done;
}

void byte_queue_share_cell(struct stack *stack, struct byte_queue *queue, uint32_t index)
{
	struct cell *cell = stack_cell(stack, index);
	uint32_t bytes = cell_bytes(cell);

	if (bytes <= COPIED_MAX && add(stack, queue, cell_from(stack, index), bytes, bytes))
		stack_give_back(stack, index);
	else
		byte_queue_append(stack, queue, index, cell, bytes);
}

/* -- the reader ----------------------------------------------------------------------------------------------------------- */

/* The reader's cell; 0: nothing was ever written. */
static uint32_t reader_cell(const struct byte_queue *queue)
{
	return queue->first ? queue->first : load_acquire(&queue->begin);
}

/* How many of `wanted` bytes lie in the cell behind its first `at`, and where. */
static inline uint32_t part_of(const struct stack *stack, uint32_t index, uint32_t at, uint32_t wanted,
                               const uint8_t **from)
{
	const struct cell *cell = stack_cell(stack, index);
	uint32_t have = cell_bytes(cell);

	*from = stack_cell_bytes(stack, index) + load_relaxed(&cell->offset) % CELL_BYTES + at;
	return at < have ? least(wanted, have - at) : 0;
}

/* To the next cell when `place` is at the end of one. 0: there is none, or the chain is nonsense. */
static int go_on(const struct stack *stack, struct byte_place *place)
{
	const struct cell *cell = stack_cell(stack, place->cell);
	uint32_t next = load_acquire(&cell->next);

	if (!next || next >= stack->cells)
		return 0;
	place->at -= least(place->at, cell_bytes(cell));
	place->cell = next;
	return 1;
}

static uint32_t copy_from(const struct stack *stack, struct byte_place *place, uint8_t *to, uint32_t bytes)
{
	uint32_t done = 0;
	const uint8_t *from;

	while (done < bytes) {
		uint32_t part = part_of(stack, place->cell, place->at, bytes - done, &from);

		if (part)
			memcpy(to + done, from, part);
		else if (!go_on(stack, place))
			break;
		place->at += part;
		done += part;
	}
	return done;
}

uint32_t byte_queue_look(const struct stack *stack, const struct byte_queue *queue, struct byte_place *place,
                         uint32_t behind, uint8_t *to, uint32_t bytes)
{
	uint32_t count = byte_queue_count(queue);

	if (behind >= count)
		return 0;
	if (!place->cell)
		*place = (struct byte_place){.cell = reader_cell(queue), .at = queue->at + behind};
	return place->cell ? copy_from(stack, place, to, least(bytes, count - behind)) : 0;
}

uint32_t byte_queue_peek(const struct stack *stack, const struct byte_queue *queue, uint32_t offset, uint8_t *to,
                         uint32_t bytes)
{
	struct byte_place place = {0};

	return byte_queue_look(stack, queue, &place, offset, to, bytes);
}

/* Goes on to the next cell and gives this one back. 0: there is none. */
static int pass_cell(struct stack *stack, struct byte_queue *queue)
{
	uint32_t done = queue->first;
	uint32_t next = load_acquire(&stack_cell(stack, done)->next);

	if (!next || next >= stack->cells)
		return 0;
	queue->first = next;
	queue->at = 0;
	stack_give_back(stack, done);
	return 1;
}

uint32_t byte_queue_take(struct stack *stack, struct byte_queue *queue, uint8_t *to, uint32_t bytes)
{
	uint32_t done = 0;
	const uint8_t *from;

	bytes = least(bytes, byte_queue_count(queue));
	if (bytes && !queue->first)
		queue->first = load_acquire(&queue->begin);
	while (done < bytes) {
		uint32_t part = part_of(stack, queue->first, queue->at, bytes - done, &from);

		if (part && to)
			memcpy(to + done, from, part);
		queue->at += part;
		done += part;
		if (!part && !pass_cell(stack, queue))
			break;
	}
	store_release(&queue->read, queue->read + done);
	return done;
}

void byte_queue_end(struct stack *stack, struct byte_queue *queue)
{
	uint32_t index = reader_cell(queue);

	for (uint32_t walked = 0; index && index < stack->cells && walked < stack->cells; walked++) {
		uint32_t next = stack_cell(stack, index)->next;

		stack_give_back(stack, index);
		index = next;
	}
	*queue = (struct byte_queue){0};
}
