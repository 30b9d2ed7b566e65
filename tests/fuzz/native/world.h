/* A small stack in memory that all runs share, its sockets and its time, and the addresses that everybody has. */
#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include "engine/engine.h"
#include "fuzz.h"
#include "tcp/tcp.h"

enum {
	WORLD_SOCKETS = 8,
	WORLD_ENDPOINTS = 16,
	WORLD_CELLS = 64,
	WORLD_VARIANTS = 8, /* of settings */
	WORLD_BYTES_MAX = 2048 /* of one call */
};

struct world {
	struct stack *stack;
	uint64_t now_ns;
	uint64_t free_cells; /* at the start, and */
	uint64_t free_endpoints;
	int is_tainted; /* bytes have come in that are not those of their sequence numbers */
	int ends_by_abort;
	uint32_t sockets[WORLD_SOCKETS]; /* 0: none */
	uint32_t hoarded; /* cells that the stack does not have for now: the first of */
	uint32_t hoard[WORLD_CELLS];
};

/* A world as it was at some time: to be there again takes less than to come there again. */
struct image;

void world_make(void);
/* With a fresh stack. */
void world_lay_out(struct world *world, uint32_t variant);
struct image *world_keep(const struct world *world);
void world_begin(struct world *world, const struct image *image);
/* Everything is closed, time passes, and all must have been given back. */
void world_end(struct world *world);

uint64_t world_state(const struct world *world, uint32_t number);
void world_close(struct world *world, uint32_t slot);
/* So many cells are taken from the stack, or as many as there are, in place of those that were before. */
void world_hoard(struct world *world, uint32_t count);

/* One of a dozen: the stack's own (0, 2), peers (1, 3, 6, 7), unspecified (4, 5), and of many (8 to 10). */
const struct address *world_address(uint8_t choice);
/* One of four; from 0xfe on what is no port. */
uint32_t world_port(uint8_t choice);
/* A size that is small more often than not. */
uint32_t world_size(uint8_t choice);

/* What bytes with sequence numbers from `sequence` on are in every stream of every run: so all that is read can be judged. Up to
 * WORLD_BYTES_MAX of them. */
const uint8_t *world_stream(uint32_t sequence);

/* output.c: takes up to `most` packets (0: all) that are to leave, and judges them; those of `is_loop` come back. */
void output_take(struct world *world, uint32_t most, int is_loop);

#endif
