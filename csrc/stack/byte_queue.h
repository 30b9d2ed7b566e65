/* A stream of bytes in cells, from one writer to one reader, neither of which waits for the other.
 *
 * Of a socket's two, what the program sends is written by the program and read by the lock's holder, what it receives the other way
 * round. Either side may be any thread that has that side's lock. The cells are a chain. The writer adds bytes to the last one, and a
 * new one behind it; the reader gives a cell back when it has gone on to the next. So the last cell stays, even when it is empty: a
 * connection that has been used keeps one in each direction.
 *
 * Counters run round and round: bytes [read, written) are in the queue. A process that dies between two instructions has put
 * bytes in or has not, and has taken them out or has not; a cell that it had in hand is lost to the stack. */
#ifndef BYWAY_STACK_BYTE_QUEUE_H
#define BYWAY_STACK_BYTE_QUEUE_H

#include "stack/stack.h"

struct byte_queue {
	uint32_t written; /* the writer's: published after the bytes */
	uint32_t last; /* the writer's: the cell to which bytes are added; 0: none yet */
	uint32_t begin; /* the writer's: the first cell that there was */
	uint32_t read; /* the reader's */
	uint32_t first; /* the reader's: the cell in which byte `read` lies, or behind which it will lie; 0: see `begin` */
	uint32_t at; /* the reader's: bytes of `first` that have been taken */
};

/* A place in the queue, ahead of what has been taken: to look at bytes that stay. Valid while the reader takes nothing beyond it. */
struct byte_place {
	uint32_t cell; /* 0: at the reader's own */
	uint32_t at;
};

/* Bytes in the queue. Either side; the other may change it meanwhile. */
static inline uint32_t byte_queue_count(const struct byte_queue *queue)
{
	return load_acquire(&queue->written) - load_acquire(&queue->read);
}

/* The writer. Copies up to `bytes` from `from`; how many: fewer where cells are short. */
uint32_t byte_queue_write(struct stack *stack, struct byte_queue *queue, const uint8_t *from, uint32_t bytes);
/* The writer. The cell with its bytes becomes the last of the queue. Its bytes and its link are whole before it can be found. */
static inline void byte_queue_append(struct stack *stack, struct byte_queue *queue, uint32_t index, struct cell *cell,
                                     uint32_t bytes)
{
	store_relaxed(&cell->next, CELL_NONE);
	store_release(queue->last ? &stack_cell(stack, queue->last)->next : &queue->begin, index);
	queue->last = index;
	store_release(&queue->written, queue->written + bytes);
}

/* The writer. Few bytes are copied behind the last cell's, and their own is given back; many as byte_queue_append. */
void byte_queue_share_cell(struct stack *stack, struct byte_queue *queue, uint32_t index);

/* The writer. The cell keeps its bytes while cells are plenty. */
static inline void byte_queue_put_cell(struct stack *stack, struct byte_queue *queue, uint32_t index, struct cell *cell)
{
	if (unlikely(stack_is_short(stack, RESERVE_WHOLE_CELLS)))
		byte_queue_share_cell(stack, queue, index);
	else
		byte_queue_append(stack, queue, index, cell, cell->bytes);
}

/* The reader. Copies up to `bytes` bytes from `offset` bytes behind `read`, which stay; how many. */
uint32_t byte_queue_peek(const struct stack *stack, const struct byte_queue *queue, uint32_t offset, uint8_t *to,
                         uint32_t bytes);
/* The same, but begins at `place`, which is `behind` bytes behind `read`, and moves it on. */
uint32_t byte_queue_look(const struct stack *stack, const struct byte_queue *queue, struct byte_place *place,
                         uint32_t behind, uint8_t *to, uint32_t bytes);
/* The reader. Takes `bytes` bytes out, into `to` where it is not NULL; never more than there are. */
uint32_t byte_queue_take(struct stack *stack, struct byte_queue *queue, uint8_t *to, uint32_t bytes);

/* All cells go back. Nobody else uses the queue any more. */
void byte_queue_end(struct stack *stack, struct byte_queue *queue);

#endif
