/* Treiber's list. `next` of a cell may be read while another process has taken the cell and writes there: what was read is used
 * only if the head, tag and all, is still the same. */
#include "stack/cells.h"

#include "base/cpu.h"

#define TAG_SHIFT 32

static uint64_t with_next_tag(uint64_t head, uint32_t index)
{
	return ((head >> TAG_SHIFT) + 1) << TAG_SHIFT | index;
}

void cells_make(struct cell_pool *pool, struct cell *cells, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		cells[i] = (struct cell){.next = i + 1 < count ? i + 1 : CELL_NONE};
	*pool = (struct cell_pool){.first = count ? 0 : CELL_NONE, .count = count, .free_count = count};
}

uint32_t cell_take(struct cell_pool *pool, struct cell *cells)
{
	uint64_t head = load_acquire(&pool->first);
	uint32_t index;

	do {
		index = (uint32_t)head;
		if (index >= pool->count) /* CELL_NONE, or nonsense that another process has written */
			return CELL_NONE;
	} while (!compare_swap(&pool->first, &head, with_next_tag(head, load_relaxed(&cells[index].next))));
	fetch_add(&pool->free_count, -1);
	return index;
}

void cell_give_back(struct cell_pool *pool, struct cell *cells, uint32_t index)
{
	uint64_t head = load_acquire(&pool->first);

	do
		store_relaxed(&cells[index].next, (uint32_t)head);
	while (!compare_swap(&pool->first, &head, with_next_tag(head, index)));
	fetch_add(&pool->free_count, 1);
}
