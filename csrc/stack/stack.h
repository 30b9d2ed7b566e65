/* A stack's memory: one mapping without pointers, the same in every process that has it.
 *
 *   struct stack | endpoints | cells' facts | timers | work | hash tables | cells
 *
 * All of it but the cell pool, the queues and `work` belongs to whoever holds the stack's lock (stack/work.h). Indices that are read
 * here may have been written by a process that has gone mad: each is bounded before use, and what is out of bounds means number 0,
 * of cells and of endpoints, which nobody ever has. */
#ifndef BYWAY_STACK_STACK_H
#define BYWAY_STACK_STACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "frame/packet.h"
#include "stack/cells.h"
#include "stack/secret.h"
#include "stack/wheel.h"
#include "stack/work.h"

#define STACK_MAGIC 0x3179617779420001ull
#define STACK_NS_PER_TICK 1000000ull /* of the wheel */
#define STACK_NEVER UINT64_MAX

enum {
	STACK_ADDRESSES_MAX = 64,
	STACK_BATCH =
		64, /* packets that are looked at together: they share the lock, and small ones of a connection their answer */
	ENDPOINT_BYTES = 1024,
	ENDPOINTS_MAX = 1 << 20,
	CELLS_MIN = 64,
	CELLS_MAX = 1 << 22
};

/* What a stack is made with. Milliseconds and bytes; 0: the default (stack_settings_complete). */
struct stack_settings {
	uint32_t endpoints; /* sockets, of all kinds together */
	uint32_t cells;
	uint32_t mtu; /* of the largest IP packet that leaves: 576 to 1,920 */
	uint32_t send_bytes; /* a socket's send buffer, and */
	uint32_t receive_bytes; /* its receive buffer: what SO_SNDBUF and SO_RCVBUF begin with */
	uint32_t rto_min_ms; /* the retransmission timeout is never less (RFC 6298, 2.4 wants 1,000; Linux has 200) */
	uint32_t delayed_ack_ms; /* RFC 9293, 3.8.6.3: less than 500 */
	uint32_t time_wait_ms; /* twice the maximum segment lifetime (RFC 9293, 3.4.2; Linux has 60,000) */
	uint32_t initial_window; /* segments (RFC 6928: 10) */
	uint32_t pad;
	struct secret secret; /* of sequence numbers and hashes: random, and told to nobody */
};
_Static_assert(sizeof(struct stack_settings) == 56, "read by Python");

enum stack_counter {
#define COUNTER(name, text) STACK_##name,
#include "stack/counters.def"
#undef COUNTER
	STACK_COUNTERS
};

/* Packets on their way out, a list of cells: `sequence` of each is where it is to go by (an interface), `bytes` the whole packet. */
struct stack_output {
	uint32_t first;
	uint32_t last;
	uint32_t count;
	uint32_t identification; /* of the next IPv4 header */
};

struct stack {
	uint64_t magic; /* STACK_MAGIC, stored last when the stack is made (engine/step.c) */
	uint64_t layout_hash; /* of the headers that the engine was compiled from */
	uint64_t bytes;
	uint32_t endpoints;
	uint32_t cells;
	uint32_t hash_slots; /* of each table; a power of two */
	uint32_t endpoints_offset;
	uint32_t facts_offset;
	uint32_t timers_offset;
	uint32_t works_offset;
	uint32_t hash_offset;
	uint64_t data_offset;
	struct stack_settings settings;
	uint64_t now_ns; /* the latest time that anybody has told */
	uint64_t counters[STACK_COUNTERS];
	uint64_t drops[DROP_COUNT];
	uint32_t free_endpoint; /* a list, linked by endpoint.next; 0: none */
	uint32_t free_endpoints;
	uint32_t busy_with; /* the endpoint that the lock's holder is changing; 0: none */
	uint32_t latest; /* the connection that the last expected segment was for (tcp/expected.c); 0: none */
	uint32_t address_count;
	struct address addresses[STACK_ADDRESSES_MAX]; /* whose packets are ours; none at all: everybody's */
	struct stack_output output;
	struct work work __attribute__((aligned(64)));
	struct cell_pool pool __attribute__((aligned(64)));
	struct wheel wheel __attribute__((aligned(64)));
	struct cell_stock stock;
	/* Cells with packets that have come, in the hand of the lock's holder: those from `hand_next` on have not been looked at. Here, so
	 * that they are not lost with it */
	uint32_t hand_next;
	uint32_t hand_count;
	uint32_t hand[STACK_BATCH];
};

/* Bytes of memory that a stack with these settings takes, after stack_settings_complete. */
size_t stack_bytes(const struct stack_settings *settings);
/* Fills in what is 0. 0, or -EINVAL: a value is out of its range. */
int stack_settings_complete(struct stack_settings *settings);
/* Lays a stack out in zeroed `memory`, at a multiple of 64. 0; -EINVAL; -ENOSPC: `bytes` are fewer than stack_bytes. */
int stack_lay_out(struct stack *stack, size_t bytes, const struct stack_settings *settings, uint64_t now_ns);

/* Whether packets for `address` are ours. */
int stack_has_address(const struct stack *stack, const struct address *address);

static inline void *stack_at(const struct stack *stack, uint64_t offset)
{
	return (char *)(uintptr_t)stack + offset;
}

static inline struct cell *stack_cells(const struct stack *stack)
{
	return stack_at(stack, stack->facts_offset);
}

static inline uint32_t stack_bounded_cell(const struct stack *stack, uint32_t index)
{
	return likely(index < stack->cells) ? index : 0;
}

static inline struct cell *stack_cell(const struct stack *stack, uint32_t index)
{
	return stack_cells(stack) + stack_bounded_cell(stack, index);
}

/* The CELL_BYTES of a cell. */
static inline uint8_t *stack_cell_bytes(const struct stack *stack, uint32_t index)
{
	return stack_at(stack, stack->data_offset + (uint64_t)stack_bounded_cell(stack, index) * CELL_BYTES);
}

static inline uint32_t stack_take_cell(struct stack *stack)
{
	return cell_take(&stack->pool, stack_cells(stack));
}

/* Who may take how many of the last cells: a part of all that stays free for those that come after in this list. So bytes that
 * wait to be sent, or to be read, never take what is needed to send and to hear of them. */
enum stack_reserve {
	RESERVE_WHOLE_CELLS = 2, /* small segments that keep a whole cell each */
	RESERVE_SEND = 4, /* what programs send: a quarter stays free */
	RESERVE_OUT_OF_ORDER = 8, /* segments before their turn, and datagrams */
	RESERVE_IN_ORDER = 16 /* segments in their turn; packets that are built, or only looked at, take the rest */
};

static inline uint32_t stack_free_cells(const struct stack *stack)
{
	return load_relaxed(&stack->pool.free_count) + load_relaxed(&stack->stock.count);
}

static inline int stack_is_short(const struct stack *stack, enum stack_reserve reserve)
{
	return stack_free_cells(stack) < stack->cells / reserve;
}

static inline void stack_give_back(struct stack *stack, uint32_t index)
{
	if (likely(index && index < stack->cells))
		cell_give_back(&stack->pool, stack_cells(stack), index);
}

/* The same two for those that hold the lock. */
static inline uint32_t stack_take_cell_held(struct stack *stack)
{
	return cell_take_held(&stack->stock, &stack->pool, stack_cells(stack));
}

static inline void stack_give_back_held(struct stack *stack, uint32_t index)
{
	if (likely(index && index < stack->cells))
		cell_give_back_held(&stack->stock, &stack->pool, stack_cells(stack), index);
}

/* Whatever another process has written there. */
static inline uint32_t stack_hand_count(const struct stack *stack)
{
	return stack->hand_count < STACK_BATCH ? stack->hand_count : STACK_BATCH;
}

/* The next one of the hand is about to be somebody's: a death from here on may lose it, but never give it to two. */
static inline void stack_take_from_hand(struct stack *stack)
{
	store_release(&stack->hand_next, stack->hand_next + 1);
}

/* Copies a packet of `bytes` bytes, at most CELL_BYTES, into a cell, and that into the hand, which has room. 0: no cell is free. For
 * those that hold the lock. */
int stack_copy_in(struct stack *stack, const uint8_t *packet, uint32_t bytes);

/* Into the hand, which has room. */
static inline void stack_hold(struct stack *stack, uint32_t index)
{
	stack->hand[stack->hand_count % STACK_BATCH] = index;
	store_release(&stack->hand_count, stack->hand_count + 1);
}

static inline struct wheel_node *stack_timers(const struct stack *stack)
{
	return stack_at(stack, stack->timers_offset);
}

static inline struct work_node *stack_works(const struct stack *stack)
{
	return stack_at(stack, stack->works_offset);
}

static inline void stack_count(struct stack *stack, enum stack_counter counter)
{
	stack->counters[counter]++;
}

/* Time never goes back, whatever a caller says. */
static inline void stack_tell_time(struct stack *stack, uint64_t now_ns)
{
	if (now_ns > stack->now_ns)
		stack->now_ns = now_ns;
}

#endif
