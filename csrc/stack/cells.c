/* Treiber's list. `next` of a cell may be read while another process has taken the cell and writes there: what was read is used
 * only if the head, tag and all, is still the same. */
#include "stack/cells.h"

#include "base/cpu.h"

#define TAG_SHIFT 32

static uint64_t with_next_tag(uint64_t head, uint32_t index)
{
	return ((head >> TAG_SHIFT) + 1) << TAG_SHIFT | index;
}

void cells_make(struct cell_pool *pool, struct cell_stock *stock, struct cell *cells, uint32_t count)
{
	uint32_t most = count / 32;

	for (uint32_t i = 0; i < count; i++)
		cells[i] = (struct cell){.next = i + 1 < count ? i + 1 : CELL_NONE};
	*pool = (struct cell_pool){.first = count ? 0 : CELL_NONE, .count = count, .free_count = count};
	*stock = (struct cell_stock){.first = CELL_NONE, .most = most < CELL_STOCK_MAX ? most : CELL_STOCK_MAX};
}

/* -- the pool ------------------------------------------------------------------------------------------------------------- */

/* The last of `count` cells from `index` on, or of as many as there are: *count says how many. What lies behind it may be nonsense. */
static uint32_t walk(const struct cell_pool *pool, const struct cell *cells, uint32_t index, uint32_t *count)
{
	for (uint32_t walked = 1; walked < *count; walked++) {
		uint32_t next = load_relaxed(&cells[index].next);

		if (next >= pool->count) {
			*count = walked;
			break;
		}
		index = next;
	}
	return index;
}

/* A chain of up to `*count` cells; CELL_NONE: there is none. */
static uint32_t take_chain(struct cell_pool *pool, struct cell *cells, uint32_t *count)
{
	uint64_t head = load_acquire(&pool->first);
	uint32_t index, last, found;

	do {
		index = (uint32_t)head;
		if (index >= pool->count) /* CELL_NONE, or nonsense that another process has written */
			return CELL_NONE;
		found = *count;
		last = walk(pool, cells, index, &found);
	} while (!compare_swap(&pool->first, &head, with_next_tag(head, load_relaxed(&cells[last].next))));
	fetch_add(&pool->free_count, -found);
	cells[last].next = CELL_NONE;
	*count = found;
	return index;
}

static void give_back_chain(struct cell_pool *pool, struct cell *cells, uint32_t first, uint32_t last, uint32_t count)
{
	uint64_t head = load_acquire(&pool->first);

	do
		store_relaxed(&cells[last].next, (uint32_t)head);
	while (!compare_swap(&pool->first, &head, with_next_tag(head, first)));
	fetch_add(&pool->free_count, count);
}

uint32_t cell_take(struct cell_pool *pool, struct cell *cells)
{
	uint32_t count = 1;

	return take_chain(pool, cells, &count);
}

void cell_give_back(struct cell_pool *pool, struct cell *cells, uint32_t index)
{
	give_back_chain(pool, cells, index, index, 1);
}

/* -- the stock ------------------------------------------------------------------------------------------------------------ */

static uint32_t half(const struct cell_stock *stock)
{
	return stock->most / 2 ? stock->most / 2 : 1;
}

static inline uint32_t take_first(struct cell_stock *stock, const struct cell *cells)
{
	uint32_t index = stock->first;

	stock->first = cells[index].next;
	stock->count--;
	return index;
}

static __attribute__((noinline)) uint32_t fetch_and_take(struct cell_stock *stock, struct cell_pool *pool,
                                                         struct cell *cells)
{
	uint32_t count = half(stock);

	stock->first = take_chain(pool, cells, &count);
	stock->count = stock->first == CELL_NONE ? 0 : count;
	return stock->first == CELL_NONE ? CELL_NONE : take_first(stock, cells);
}

uint32_t cell_take_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells)
{
	return likely(stock->first < pool->count) ? take_first(stock, cells) : fetch_and_take(stock, pool, cells);
}

static void give_half_back(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells)
{
	uint32_t first = stock->first, count = half(stock), last = walk(pool, cells, first, &count);

	stock->first = cells[last].next;
	stock->count -= count;
	give_back_chain(pool, cells, first, last, count);
}

void cell_give_back_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells, uint32_t index)
{
	cells[index].next = stock->first;
	stock->first = index;
	if (unlikely(++stock->count > stock->most))
		give_half_back(stock, pool, cells);
}

void cell_stock_repair(struct cell_stock *stock, const struct cell_pool *pool, const struct cell *cells)
{
	uint32_t count = 0;

	for (uint32_t index = stock->first; index < pool->count && count <= CELL_STOCK_MAX; index = cells[index].next)
		count++;
	stock->count = count;
}
