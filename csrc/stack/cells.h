/* The cells that packets lie in, and those that are free.
 *
 * Any thread of any process that maps the stack may take and give back, with no lock: the free ones are a list whose head is changed
 * by compare-and-swap, with a tag that changes each time, so that a head that has come back is not taken for the same list. A
 * process that dies with cells in hand has lost them to the stack. */
#ifndef BYWAY_STACK_CELLS_H
#define BYWAY_STACK_CELLS_H

#include <stdint.h>

enum {
	CELL_BYTES = 2048,
	CELL_HEADROOM_BYTES = 128
}; /* a UMEM chunk; room for all headers before a payload */

#define CELL_NONE 0xffffffffu

/* What is known of a cell, apart from the bytes in it. */
struct cell {
	uint32_t next; /* of the free ones, or in the list of whoever has it; CELL_NONE: the last */
	uint16_t offset; /* of its bytes in the cell */
	uint16_t bytes;
	uint32_t sequence; /* of the first byte, where it is a segment that waits for earlier ones */
	uint32_t note; /* what else its list knows of it; of a packet that has come: CELL_CHECKED, or 0 */
};
#define CELL_CHECKED 1u /* the transport's checksum need not be looked at: somebody has, or it never was on a wire */
_Static_assert(sizeof(struct cell) == 16, "a quarter of a line");

/* On a line of its own. */
struct cell_pool {
	uint64_t first; /* tag << 32 | index of the first free one */
	uint32_t count;
	uint32_t free_count; /* a hint: moves after the list does */
	uint64_t pad[6];
};
_Static_assert(sizeof(struct cell_pool) == 64, "one line");

/* Free cells that whoever holds the stack's lock has at hand: most of what is taken and given back with the lock goes no further. */
struct cell_stock {
	uint32_t first; /* CELL_NONE: it is empty */
	uint32_t count;
	uint32_t most; /* beyond it half of them go to the pool; half of it is fetched from there */
	uint32_t pad;
};
#define CELL_STOCK_MAX 64u

/* All `count` cells are free, in the pool. */
void cells_make(struct cell_pool *pool, struct cell_stock *stock, struct cell *cells, uint32_t count);

/* A free cell, which is the caller's; CELL_NONE: there is none. */
uint32_t cell_take(struct cell_pool *pool, struct cell *cells);
void cell_give_back(struct cell_pool *pool, struct cell *cells, uint32_t index);

/* The same for the holder of the stack's lock. */
uint32_t cell_take_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells);
void cell_give_back_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells, uint32_t index);
/* A holder has died, perhaps in the middle of one of these: what is left of the list. */
void cell_stock_repair(struct cell_stock *stock, const struct cell_pool *pool, const struct cell *cells);

#endif
