/* csrc/stack/cells.c and index_ring.h under many threads: each takes cells, marks them its own, sends some through its ring to a
 * neighbour, and gives others back. `cells THREADS TURNS` ends with 0 when no cell was ever had by two, and all are free at the end. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "stack/cells.h"
#include "stack/index_ring.h"

enum {
	CELLS = 200,
	THREADS_MAX = 16,
	HELD_MAX = 20
};

static struct cell_pool pool;
static struct cell cells[CELLS];
static _Atomic unsigned owners[CELLS];
static struct index_ring rings[THREADS_MAX];
static unsigned threads, turns;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void own(uint32_t index, unsigned from, unsigned to)
{
	if (index >= CELLS ||
	    !__atomic_compare_exchange_n((unsigned *)&owners[index], &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		fail("a cell is had by two");
}

static void give_back(uint32_t index, unsigned me)
{
	own(index, me, 0);
	cell_give_back(&pool, cells, index);
}

/* What the neighbour has sent. */
static void take_in(unsigned me)
{
	uint32_t index;

	while (index_ring_look(&rings[me - 1], &index)) {
		index_ring_pass(&rings[me - 1]);
		own(index, THREADS_MAX + me, me);
		give_back(index, me);
	}
}

static void *work(void *number)
{
	unsigned me = (unsigned)(uintptr_t)number, seed = me, held = 0, to = me % threads + 1;
	uint32_t mine[HELD_MAX];

	for (unsigned turn = 0; turn < turns; turn++) {
		uint32_t index = held < HELD_MAX ? cell_take(&pool, cells) : CELL_NONE;

		if (index != CELL_NONE) {
			own(index, 0, me);
			mine[held++] = index;
		}
		take_in(me);
		if (held && rand_r(&seed) % 2)
			give_back(mine[--held], me);
		else if (held && index_ring_count(&rings[to - 1]) < INDEX_RING_SLOTS) {
			own(mine[--held], me, THREADS_MAX + to);
			index_ring_put(&rings[to - 1], mine[held]);
		}
	}
	while (held)
		give_back(mine[--held], me);
	return NULL;
}

int main(int count, char **words)
{
	pthread_t ids[THREADS_MAX];

	threads = count == 3 ? (unsigned)atoi(words[1]) : 0;
	turns = count == 3 ? (unsigned)atoi(words[2]) : 0;
	if (!threads || threads > THREADS_MAX)
		fail("cells THREADS TURNS");
	cells_make(&pool, cells, CELLS);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	for (unsigned i = 0; i < threads; i++)
		take_in(i + 1);
	if (pool.free_count != CELLS)
		fail("a cell is lost");
	for (unsigned i = 0; i < CELLS; i++)
		if (cell_take(&pool, cells) == CELL_NONE)
			fail("the list has lost a cell");
	if (cell_take(&pool, cells) != CELL_NONE)
		fail("the list has one too many");
	return 0;
}
