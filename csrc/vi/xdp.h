/* The VI `xdp`: one queue of an adapter, by AF_XDP (Linux, Documentation/networking/af_xdp.rst). The stack's cells are its memory
 * (UMEM): what comes is in one when we hear of it, what leaves is sent from one.
 *
 * Somebody with the right has made the socket, with the cells registered and bound (src/byway/kernel/xdp.py); here it is used, by any
 * process that has its descriptor and the stack. Of cells the kernel has those in the fill ring, where it puts what comes, and those
 * of packets that are not sent yet.
 *
 * `struct xdp` is of the process that opens it, its neighbours among it. */
#ifndef BYWAY_VI_XDP_H
#define BYWAY_VI_XDP_H

#include "vi/vi.h"

enum {
	XDP_RING_ENTRIES =
		2048, /* of each of the four rings; fewer cells are handed to the kernel: fill_target in vi/xdp.c */
	XDP_NEIGHBOURS_MAX = 256
};

/* A ring that is shared with the kernel: numbers that run round, of which one side is written by us. */
struct xdp_ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void *entries;
	uint32_t mask;
	uint32_t pad;
};

/* To whom packets for an address go. */
struct xdp_neighbour {
	struct address address;
	uint8_t mac[6];
	uint16_t is_known;
};

struct xdp {
	int32_t fd;
	uint32_t is_partial_possible; /* whoever sends over a veth may leave the checksum to an adapter that there is not */
	struct xdp_ring rx, tx, fill, completion;
	uint8_t mac[6]; /* ours */
	uint8_t pad[2];
	uint64_t no_neighbour; /* packets that were not sent for want of one */
	uint64_t not_ip; /* frames that came, and are none of ours */
	struct xdp_neighbour neighbours[XDP_NEIGHBOURS_MAX];
};

/* Maps the rings of `fd` for the stack, and gives the kernel cells to fill. `memory`: byway_xdp_bytes() zeroed bytes. 0; or as
 * getsockopt(2) and mmap(2). */
ENGINE_API uint64_t byway_xdp_bytes(void);
ENGINE_API int byway_xdp_open(struct vi *vi, void *memory, struct stack *stack, int fd, const uint8_t mac[6],
                              uint32_t interface, int is_partial_possible);
/* Packets for `address` go to `mac` from now on. 0; -ENOSPC. */
ENGINE_API int byway_xdp_neighbour(struct vi *vi, struct stack *stack, const struct address *address,
                                   const uint8_t mac[6]);

#endif
