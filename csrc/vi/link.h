/* The VI `link`: two stacks joined in memory, which may be of two processes. For tests, and for the limit of what the engine can do.
 *
 *   struct link | slots from side 0 to side 1 | slots from side 1 to side 0
 *
 * A packet is copied into a slot, and out of it into a cell of the other's stack: neither side sees the other's stack, and what it
 * reads in a slot is bounded. Each direction has one that puts and one that takes, the holders of the two stacks' locks. A slot says
 * itself which packet is in it, on the line where that begins, and who takes writes nothing there: so a small packet is on its way as
 * soon as that line is. */
#ifndef BYWAY_VI_LINK_H
#define BYWAY_VI_LINK_H

#include "vi/vi.h"

#define LINK_MAGIC 0x3179617779420002ull
#define LINK_SLOTS 256u /* of each direction */

struct link_slot {
	uint32_t head; /* link_head of the packet in it; published after it */
	uint8_t packet[CELL_BYTES - sizeof(uint32_t)];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct link_slot) == CELL_BYTES, "packets end before");

struct link_direction {
	uint32_t put __attribute__((aligned(64))); /* packets so far; runs round, as `taken` does */
	uint32_t known_taken; /* `taken` as who puts last saw it */
	uint32_t taken __attribute__((aligned(64)));
	struct link_slot slots[LINK_SLOTS];
};

struct link {
	uint64_t magic;
	struct link_direction directions[2]; /* by the side that puts */
};

/* Bytes of memory that a link takes. */
ENGINE_API uint64_t byway_link_bytes(void);
/* Makes a link in so many zeroed bytes, aligned to 64. */
ENGINE_API void byway_link_make(void *memory);
/* The end of `side` 0 or 1 of a link in `memory`, which somebody has made. 0; -EINVAL: it is none. */
ENGINE_API int byway_link_open(struct vi *vi, void *memory, uint32_t side, uint32_t interface);

#endif
