/* csrc/stack/cells.c and byte_queue.c under many threads: each writes a stream to its neighbour, in pieces and in whole cells, and reads and
 * checks the one that comes. `queues THREADS TURNS` ends with 0 when every byte was right and all cells are free at the end. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/byte_queue.h"

enum {
	CELLS = 400,
	THREADS_MAX = 16,
	PIECE_MAX = 3000,
	QUEUED_MAX = 20000
};

static struct stack *stack;
static struct byte_queue queues[THREADS_MAX];
static unsigned threads, turns;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static uint8_t byte_at(uint32_t position)
{
	return (uint8_t)(position * 31 + (position >> 8));
}

static void fill(uint8_t *to, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = byte_at(from + i);
}

/* As the engine does with a segment that has arrived. */
static void write_cell(struct byte_queue *queue, uint32_t *written, uint32_t bytes)
{
	uint32_t index = stack_take_cell(stack);

	if (index == CELL_NONE)
		return;
	bytes %= CELL_BYTES - CELL_HEADROOM_BYTES;
	stack_cell(stack, index)->offset = CELL_HEADROOM_BYTES;
	stack_cell(stack, index)->bytes = (uint16_t)bytes;
	fill(stack_cell_bytes(stack, index) + CELL_HEADROOM_BYTES, *written, bytes);
	byte_queue_put_cell(stack, queue, index, stack_cell(stack, index));
	*written += bytes;
}

static void write_piece(struct byte_queue *queue, uint32_t *written, uint32_t bytes)
{
	uint8_t piece[PIECE_MAX];

	fill(piece, *written, bytes);
	*written += byte_queue_write(stack, queue, piece, bytes);
}

static void read_piece(struct byte_queue *queue, uint32_t *read, uint32_t bytes)
{
	uint8_t piece[PIECE_MAX], ahead[PIECE_MAX];
	uint32_t peeked = byte_queue_peek(stack, queue, 0, ahead, bytes),
			 taken = byte_queue_take(stack, queue, piece, bytes);

	if (peeked > taken || memcmp(piece, ahead, peeked))
		fail("what was looked at is not what was taken");
	for (uint32_t i = 0; i < taken; i++)
		if (piece[i] != byte_at(*read + i))
			fail("a byte is wrong");
	*read += taken;
}

static void *work(void *number)
{
	unsigned me = (unsigned)(uintptr_t)number, seed = me;
	uint32_t written = 0, read = 0;

	for (unsigned turn = 0; turn < turns; turn++) {
		struct byte_queue *mine = &queues[me];

		if (byte_queue_count(mine) < QUEUED_MAX && rand_r(&seed) % 2)
			write_piece(mine, &written, (uint32_t)rand_r(&seed) % PIECE_MAX);
		else if (byte_queue_count(mine) < QUEUED_MAX)
			write_cell(mine, &written, 1 + (uint32_t)rand_r(&seed) % CELL_BYTES);
		read_piece(&queues[(me + 1) % threads], &read, (uint32_t)rand_r(&seed) % PIECE_MAX);
	}
	return NULL;
}

static void make_stack(void)
{
	struct stack_settings settings = {.cells = CELLS};
	size_t bytes;

	if (stack_settings_complete(&settings))
		fail("the settings");
	bytes = stack_bytes(&settings);
	stack = aligned_alloc(64, bytes);
	memset(stack, 0, bytes);
	if (stack_lay_out(stack, bytes, &settings, 0))
		fail("the stack");
}

int main(int count, char **words)
{
	pthread_t ids[THREADS_MAX];

	threads = count == 3 ? (unsigned)atoi(words[1]) : 0;
	turns = count == 3 ? (unsigned)atoi(words[2]) : 0;
	if (!threads || threads > THREADS_MAX)
		fail("queues THREADS TURNS");
	make_stack();
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	for (unsigned i = 0; i < threads; i++)
		byte_queue_end(stack, &queues[i]);
	if (stack->pool.free_count != CELLS - 1) /* number 0 is nobody's */
		fail("a cell is lost");
	for (unsigned i = 1; i < CELLS; i++)
		if (stack_take_cell(stack) == CELL_NONE)
			fail("the list has lost a cell");
	if (stack_take_cell(stack) != CELL_NONE)
		fail("the list has one too many");
	free(stack);
	return 0;
}
