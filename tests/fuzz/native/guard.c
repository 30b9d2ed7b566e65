#include "guard.h"

#include <sanitizer/asan_interface.h>
#include <string.h>

#include "fuzz.h"
#include "stack/endpoint.h"

#define FRESH 0xa5 /* what is in a cell that was just taken: the same in each run */

/* A planted fault: a cell with so many bytes is lost when it is given back. 0: none is. */
#ifndef GUARD_LOST_BYTES
#define GUARD_LOST_BYTES 0
#endif

uint32_t __real_cell_take(struct cell_pool *pool, struct cell *cells);
uint32_t __wrap_cell_take(struct cell_pool *pool, struct cell *cells);
void __real_cell_give_back(struct cell_pool *pool, struct cell *cells, uint32_t index);
void __wrap_cell_give_back(struct cell_pool *pool, struct cell *cells, uint32_t index);
uint32_t __real_cell_take_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells);
uint32_t __wrap_cell_take_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells);
void __real_cell_give_back_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells, uint32_t index);
void __wrap_cell_give_back_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells, uint32_t index);
void __real_endpoint_give_back(struct stack *stack, uint32_t index);
void __wrap_endpoint_give_back(struct stack *stack, uint32_t index);

static struct stack *guarded; /* NULL: nothing is, now */
static struct guard now;

void guard_suspend(struct stack *stack, uint64_t bytes)
{
	guarded = NULL;
	ASAN_UNPOISON_MEMORY_REGION(stack, bytes);
	(void)bytes;
}

void guard_begin(struct stack *stack)
{
	must(stack->cells <= GUARD_CELLS_MAX, "the guard has room for all cells");
	guarded = stack;
	now = (struct guard){.is_taken[0] = 1};
	ASAN_POISON_MEMORY_REGION(stack_cell_bytes(stack, 1), (size_t)(stack->cells - 1) * CELL_BYTES);
}

static void let_use(uint32_t index)
{
	now.is_taken[index] = 1;
	ASAN_UNPOISON_MEMORY_REGION(stack_cell_bytes(guarded, index), CELL_BYTES);
}

const struct guard *guard_now(void)
{
	return &now;
}

void guard_resume(const struct guard *guard)
{
	for (uint32_t index = 1; index < guarded->cells; index++)
		if (guard->is_taken[index])
			let_use(index);
}

static uint32_t taken(const struct cell_pool *pool, uint32_t index)
{
	if (!guarded || index == CELL_NONE)
		return index;
	must(index < pool->count && !now.is_taken[index], "a cell that is given out is free");
	let_use(index);
	memset(stack_cell_bytes(guarded, index), FRESH, CELL_BYTES);
	return index;
}

/* 0: it is lost. */
static int is_given_back(const struct cell_pool *pool, const struct cell *cells, uint32_t index)
{
	must(index < pool->count && now.is_taken[index], "a cell that is given back is in use");
	if (GUARD_LOST_BYTES && cells[index].bytes == GUARD_LOST_BYTES)
		return 0;
	now.is_taken[index] = 0;
	ASAN_POISON_MEMORY_REGION(stack_cell_bytes(guarded, index), CELL_BYTES);
	return 1;
}

uint32_t __wrap_cell_take(struct cell_pool *pool, struct cell *cells)
{
	return taken(pool, __real_cell_take(pool, cells));
}

uint32_t __wrap_cell_take_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells)
{
	return taken(pool, __real_cell_take_held(stock, pool, cells));
}

void __wrap_cell_give_back(struct cell_pool *pool, struct cell *cells, uint32_t index)
{
	if (is_given_back(pool, cells, index))
		__real_cell_give_back(pool, cells, index);
}

void __wrap_cell_give_back_held(struct cell_stock *stock, struct cell_pool *pool, struct cell *cells, uint32_t index)
{
	if (is_given_back(pool, cells, index))
		__real_cell_give_back_held(stock, pool, cells, index);
}

void __wrap_endpoint_give_back(struct stack *stack, uint32_t index)
{
	must(index && endpoint_at(stack, index)->kind != ENDPOINT_FREE, "an endpoint that is given back is in use");
	__real_endpoint_give_back(stack, index);
}
