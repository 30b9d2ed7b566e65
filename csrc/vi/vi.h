/* Virtual interfaces: where a stack's packets come from and go to. One interface, of which there are kinds: `link` joins two stacks in
 * memory (vi/link.h), `xdp` is a queue of an adapter (vi/xdp.h).
 *
 * A `struct vi` is a process' own; what it leads to may be shared, and so may the stack: everything but has_packet is called with the
 * stack's lock, so that whoever polls, of whichever process, is alone. */
#ifndef BYWAY_VI_VI_H
#define BYWAY_VI_VI_H

#include "engine/engine.h"

struct vi;

struct vi_kind {
	/* Whether there is something to take. */
	int (*has_packet)(const struct vi *vi);
	/* Takes packets, each into a cell of the stack's and that into its hand, as many as that has room for. */
	void (*take)(struct vi *vi, struct stack *stack);
	/* Once before packets are put: cells of those that have been sent return. NULL: put gives them back. */
	void (*before_put)(struct vi *vi, struct stack *stack);
	/* Whether one more packet can be put. */
	int (*has_room)(const struct vi *vi);
	/* Sends the cell's packet; the cell is the VI's from here. */
	void (*put)(struct vi *vi, struct stack *stack, uint32_t cell);
	/* Without the lock: the other side is told of what was put, where `must_kick` says so. NULL: it looks by itself. */
	void (*kick)(struct vi *vi);
	/* A holder of the stack's lock has died, perhaps in the middle of one of these. */
	void (*repair)(struct vi *vi);
};

struct vi {
	const struct vi_kind *kind;
	uint32_t interface; /* what its packets are said to have come by */
	uint32_t side; /* of a link: 0 or 1 */
	void *memory; /* what the kind has: struct link, struct xdp */
	uint64_t repairs; /* of the stack, that this one knows of */
	uint32_t must_kick;
	uint32_t pad;
};
_Static_assert(sizeof(struct vi) == 40, "made by Python");

/* Packets that have come go to the stack, what is due is done, packets that wait leave. How many came and left; 0: there was nothing, and
 * the lock was not taken. */
ENGINE_API uint32_t byway_vi_poll(struct vi *vi, struct stack *stack, uint64_t now_ns);

/* byway_tcp_send, and what leaves because of it is on its way when it returns; or, where another has the lock, when that one lets go. */
ENGINE_API int64_t byway_vi_send(struct vi *vi, struct stack *stack, uint32_t socket, const uint8_t *from,
                                 uint32_t bytes, int flags, uint64_t now_ns);

#endif
