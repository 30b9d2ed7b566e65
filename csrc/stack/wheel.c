/* A node lies at the level at which its deadline first differs from now. When now reaches a slot of a higher level, what lies there
 * is laid out again, further down. */
#include "stack/wheel.h"

#include <string.h>

#define SLOT_BITS 6
#define SLOT_MASK (WHEEL_SLOTS - 1u)
#define REACH \
	(1ull << SLOT_BITS * WHEEL_LEVELS) /* ticks; what is further away waits at its end, and is looked at there */

static uint32_t level_of(uint64_t now, uint64_t deadline)
{
	uint64_t differing = now ^ deadline;
	uint32_t level = 0;

	while (level < WHEEL_LEVELS - 1 && differing >> SLOT_BITS * (level + 1))
		level++;
	return level;
}

static uint32_t slot_at(uint64_t tick, uint32_t level)
{
	return (uint32_t)(tick >> SLOT_BITS * level) & SLOT_MASK;
}

/* Where the wheel looks for it: not behind now, and not beyond what the wheel reaches. */
static uint64_t reachable(const struct wheel *wheel, uint64_t deadline)
{
	uint64_t end = (wheel->now | (REACH - 1)); /* the last tick before the highest level begins again */

	if (deadline < wheel->now)
		return wheel->now;
	return deadline < end ? deadline : end;
}

static void insert(struct wheel *wheel, struct wheel_node *nodes, uint32_t index)
{
	uint64_t place = reachable(wheel, nodes[index].deadline);
	uint32_t level = level_of(wheel->now, place), slot = slot_at(place, level);
	uint32_t list = level * WHEEL_SLOTS + slot, next = wheel->first[list];

	nodes[index].list = list;
	nodes[index].previous = WHEEL_NONE;
	nodes[index].next = next;
	if (next != WHEEL_NONE)
		nodes[next].previous = index;
	wheel->first[list] = index;
	wheel->occupied[level] |= 1ull << slot;
}

static void take_out(struct wheel *wheel, struct wheel_node *nodes, uint32_t index)
{
	struct wheel_node *node = &nodes[index];
	uint32_t list = node->list;

	if (list == WHEEL_NONE)
		return;
	if (node->previous != WHEEL_NONE)
		nodes[node->previous].next = node->next;
	else
		wheel->first[list] = node->next;
	if (node->next != WHEEL_NONE)
		nodes[node->next].previous = node->previous;
	if (wheel->first[list] == WHEEL_NONE)
		wheel->occupied[list / WHEEL_SLOTS] &= ~(1ull << list % WHEEL_SLOTS);
	node->list = WHEEL_NONE;
}

void wheel_make(struct wheel *wheel, struct wheel_node *nodes, uint32_t count, uint64_t now)
{
	wheel->now = now;
	for (uint32_t i = 0; i < count; i++)
		nodes[i].deadline = WHEEL_NEVER;
	wheel_rebuild(wheel, nodes, count);
}

void wheel_rebuild(struct wheel *wheel, struct wheel_node *nodes, uint32_t count)
{
	memset(wheel->occupied, 0, sizeof(wheel->occupied));
	for (uint32_t list = 0; list < WHEEL_LEVELS * WHEEL_SLOTS; list++)
		wheel->first[list] = WHEEL_NONE;
	for (uint32_t i = 0; i < count; i++) {
		nodes[i].next = nodes[i].previous = nodes[i].list = WHEEL_NONE;
		if (nodes[i].deadline != WHEEL_NEVER)
			insert(wheel, nodes, i);
	}
}

void wheel_set(struct wheel *wheel, struct wheel_node *nodes, uint32_t index, uint64_t deadline)
{
	take_out(wheel, nodes, index);
	nodes[index].deadline = deadline;
	if (deadline != WHEEL_NEVER)
		insert(wheel, nodes, index);
}

/* The first occupied slot of a level that now has not passed; WHEEL_SLOTS: none. At the lowest level that of now counts too. */
static uint32_t next_slot(const struct wheel *wheel, uint32_t level)
{
	uint32_t from = slot_at(wheel->now, level) + (level > 0);
	uint64_t ahead = from < WHEEL_SLOTS ? wheel->occupied[level] >> from << from : 0;

	return ahead ? (uint32_t)__builtin_ctzll(ahead) : WHEEL_SLOTS;
}

/* The lowest level that has something ahead has the earliest: what is at a higher one lies beyond this one's end. */
static uint64_t next_slot_begins(const struct wheel *wheel, uint32_t *level)
{
	for (*level = 0; *level < WHEEL_LEVELS; ++*level) {
		uint32_t slot = next_slot(wheel, *level);
		uint32_t shift = SLOT_BITS * *level;

		if (slot < WHEEL_SLOTS)
			return (wheel->now >> (shift + SLOT_BITS) << (shift + SLOT_BITS)) | (uint64_t)slot << shift;
	}
	return WHEEL_NEVER;
}

uint64_t wheel_next(const struct wheel *wheel)
{
	uint32_t level;

	return next_slot_begins(wheel, &level);
}

/* Now is the beginning of a slot of `level`: what lies in it is laid out again. */
static void lay_out(struct wheel *wheel, struct wheel_node *nodes, uint32_t level)
{
	uint32_t list = level * WHEEL_SLOTS + slot_at(wheel->now, level);
	uint32_t index;

	while ((index = wheel->first[list]) != WHEEL_NONE) {
		take_out(wheel, nodes, index);
		insert(wheel, nodes, index);
	}
}

/* What is in a slot of the lowest level is due, but for what only waited at the end of the wheel's reach. */
static uint32_t take_due(struct wheel *wheel, struct wheel_node *nodes)
{
	uint32_t list = slot_at(wheel->now, 0), index, waiting;

	for (index = wheel->first[list]; index != WHEEL_NONE; index = nodes[index].next)
		if (nodes[index].deadline <= wheel->now)
			break;
	if (index != WHEEL_NONE) {
		take_out(wheel, nodes, index);
		nodes[index].deadline = WHEEL_NEVER;
		return index;
	}
	/* All of them: the wheel goes round, and they are laid out for the next round. */
	waiting = wheel->first[list];
	wheel->first[list] = WHEEL_NONE;
	wheel->occupied[0] &= ~(1ull << list);
	wheel->now++;
	while (waiting != WHEEL_NONE) {
		uint32_t next = nodes[waiting].next;

		insert(wheel, nodes, waiting);
		waiting = next;
	}
	return WHEEL_NONE;
}

uint32_t wheel_take(struct wheel *wheel, struct wheel_node *nodes, uint64_t now)
{
	uint32_t level, index;
	uint64_t begins;

	while ((begins = next_slot_begins(wheel, &level)) <= now) {
		wheel->now = begins;
		if (level > 0) {
			lay_out(wheel, nodes, level);
		} else {
			index = take_due(wheel, nodes);
			if (index != WHEEL_NONE)
				return index;
		}
	}
	if (now > wheel->now)
		wheel->now = now;
	return WHEEL_NONE;
}
