/* Deadlines of many things, each in one of 4 x 64 lists by how far away it is: 1 ms, 64 ms, 4 s and 4 min a slot.
 *
 * Setting, clearing and finding what is due cost the same however many there are. Nodes lie in a table of their own, and what
 * a node is the deadline of is its index: all of it can lie in memory that several processes share. Whoever holds the lock of
 * the stack calls. Everything can be made again from the nodes' deadlines (wheel_rebuild), should a holder have died. */
#ifndef BYWAY_STACK_WHEEL_H
#define BYWAY_STACK_WHEEL_H

#include <stdint.h>

enum {
	WHEEL_LEVELS = 4,
	WHEEL_SLOTS = 64
};

#define WHEEL_NONE 0xffffffffu
#define WHEEL_NEVER UINT64_MAX

struct wheel_node {
	uint64_t deadline; /* ticks of 1 ms; WHEEL_NEVER: none */
	uint32_t next; /* in its list: indices, WHEEL_NONE at the ends */
	uint32_t previous;
	uint32_t list; /* level * WHEEL_SLOTS + slot; WHEEL_NONE: in none */
	uint32_t pad;
};
_Static_assert(sizeof(struct wheel_node) == 24, "three words");

struct wheel {
	uint64_t now; /* ticks: everything due before has been given out */
	uint64_t occupied[WHEEL_LEVELS]; /* bit s: the list of slot s is not empty */
	uint32_t first[WHEEL_LEVELS * WHEEL_SLOTS];
};
_Static_assert(sizeof(struct wheel) == 1064, "a word, four bitmaps, 256 lists");

/* Empties the wheel, and every one of the `count` nodes. */
void wheel_make(struct wheel *wheel, struct wheel_node *nodes, uint32_t count, uint64_t now);
/* After a holder has died: the lists anew, from the deadlines. */
void wheel_rebuild(struct wheel *wheel, struct wheel_node *nodes, uint32_t count);

/* The node's only deadline from now on; WHEEL_NEVER: none. One that has passed is due at once. */
void wheel_set(struct wheel *wheel, struct wheel_node *nodes, uint32_t index, uint64_t deadline);

/* A node that is due at `now` or before, which then has no deadline; WHEEL_NONE: there is none (any more). `now` never goes back. */
uint32_t wheel_take(struct wheel *wheel, struct wheel_node *nodes, uint64_t now);

/* No node is due before this; WHEEL_NEVER: none at all. Where it is far away it may be early by a slot. */
uint64_t wheel_next(const struct wheel *wheel);

#endif
