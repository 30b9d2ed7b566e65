#include "vi/link.h"

#include <errno.h>

static struct link_direction *direction_from(const struct vi *vi, uint32_t side)
{
	struct link *link = vi->memory;

	return &link->directions[side & 1];
}

static struct link_slot *slot_of(struct link_direction *direction, uint32_t number)
{
	return &direction->slots[number % LINK_SLOTS];
}

/* Of packet `number`: a slot whose head is of another number is empty. */
static uint32_t head_of(uint32_t number, uint32_t bytes)
{
	return number << 16 | bytes;
}

/* Bytes of packet `number`, if it has been put; 0: it has not, or the head is nonsense. */
static uint32_t bytes_of(const struct link_slot *slot, uint32_t number)
{
	uint32_t head = load_acquire(&slot->head), bytes = head & UINT16_MAX;

	return head >> 16 == (uint16_t)number && bytes <= sizeof(slot->packet) ? bytes : 0;
}

static int has_room(const struct vi *vi)
{
	struct link_direction *direction = direction_from(vi, vi->side);

	if (likely(direction->put - direction->known_taken < LINK_SLOTS))
		return 1;
	direction->known_taken = load_acquire(&direction->taken);
	return direction->put - direction->known_taken < LINK_SLOTS;
}

static void put(struct vi *vi, struct stack *stack, uint32_t index)
{
	struct link_direction *direction = direction_from(vi, vi->side);
	struct link_slot *slot = slot_of(direction, direction->put);
	const struct cell *cell = stack_cell(stack, index);

	memcpy(slot->packet, stack_cell_bytes(stack, index) + cell->offset, cell->bytes);
	store_release(&slot->head, head_of(direction->put, cell->bytes));
	direction->put++;
	stack_give_back_held(stack, index);
}

static int has_packet(const struct vi *vi)
{
	struct link_direction *direction = direction_from(vi, !vi->side);
	uint32_t next = load_relaxed(&direction->taken);

	return bytes_of(slot_of(direction, next), next) != 0;
}

static void take(struct vi *vi, struct stack *stack)
{
	struct link_direction *direction = direction_from(vi, !vi->side);
	uint32_t taken = direction->taken, bytes;

	while (stack->hand_count < STACK_BATCH && (bytes = bytes_of(slot_of(direction, taken), taken)) &&
	       stack_copy_in(stack, slot_of(direction, taken)->packet, bytes))
		taken++;
	store_release(&direction->taken, taken);
}

/* A packet may have been put and not counted. One that was taken and not counted comes twice, as on any wire. */
static void repair(struct vi *vi)
{
	struct link_direction *direction = direction_from(vi, vi->side);

	if (bytes_of(slot_of(direction, direction->put), direction->put))
		direction->put++;
}

static const struct vi_kind kind_link = {
	.has_packet = has_packet,
	.take = take,
	.has_room = has_room,
	.put = put,
	.repair = repair,
};

uint64_t byway_link_bytes(void)
{
	return sizeof(struct link);
}

void byway_link_make(void *memory)
{
	struct link *link = memory;

	store_release(&link->magic, LINK_MAGIC);
}

int byway_link_open(struct vi *vi, void *memory, uint32_t side, uint32_t interface)
{
	const struct link *link = memory;

	if (side > 1 || load_acquire(&link->magic) != LINK_MAGIC)
		return -EINVAL;
	*vi = (struct vi){.kind = &kind_link, .interface = interface, .side = side, .memory = memory};
	return 0;
}
