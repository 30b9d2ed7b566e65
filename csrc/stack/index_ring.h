/* A queue of cells between two sides of a socket: one writes, one reads, neither waits for the other, and no lock is between them.
 *
 * The two counters are on lines of their own: `written` is the writer's, `read` the reader's. Either side may be any thread that holds
 * that side's lock. A process that dies between two instructions has put the cell in, or has not. */
#ifndef BYWAY_STACK_INDEX_RING_H
#define BYWAY_STACK_INDEX_RING_H

#include "base/cpu.h"

enum {
	INDEX_RING_SLOTS = 512
};

struct index_ring {
	uint32_t written; /* cells [read, written) are in the ring, in slots counted round and round */
	uint32_t pad0[15];
	uint32_t read;
	uint32_t pad1[15];
	uint32_t slots[INDEX_RING_SLOTS];
};
_Static_assert(sizeof(struct index_ring) == 128 + 4 * INDEX_RING_SLOTS, "two lines and the slots");

/* How many the ring has. Either side; the other may change it meanwhile. More than the ring holds: the other side wrote nonsense. */
static inline uint32_t index_ring_count(const struct index_ring *ring)
{
	return load_acquire(&ring->written) - load_acquire(&ring->read);
}

/* The writer. 0: it is full. */
static inline int index_ring_put(struct index_ring *ring, uint32_t index)
{
	uint32_t written = load_relaxed(&ring->written);

	if (written - load_acquire(&ring->read) >= INDEX_RING_SLOTS)
		return 0;
	store_relaxed(&ring->slots[written % INDEX_RING_SLOTS], index);
	store_release(&ring->written, written + 1);
	return 1;
}

/* The reader. The oldest, which stays where it is; 0: the ring is empty, or nonsense. */
static inline int index_ring_look(const struct index_ring *ring, uint32_t *index)
{
	uint32_t read = load_relaxed(&ring->read);
	uint32_t have = load_acquire(&ring->written) - read;

	if (!have || have > INDEX_RING_SLOTS)
		return 0;
	*index = load_relaxed(&ring->slots[read % INDEX_RING_SLOTS]);
	return 1;
}

/* The reader, after index_ring_look: it is out of the ring, and its slot the writer's. */
static inline void index_ring_pass(struct index_ring *ring)
{
	store_release(&ring->read, load_relaxed(&ring->read) + 1);
}

#endif
