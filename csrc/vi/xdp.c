/* Who writes which number of a ring: af_xdp.rst. We produce to `fill` and `tx`, and consume from `rx` and `completion`. Our own numbers
 * are read from the rings too, for another process may have gone on where we left off. */
#include "vi/xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/sys.h"
#include "engine/holding.h"
#include "vi/ethernet.h"

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

/* Of cells the kernel has so many to fill: a quarter, so that what programs send and have not read has the rest. */
static uint32_t fill_target(const struct stack *stack)
{
	uint32_t quarter = stack->cells / 4;

	return quarter < XDP_RING_ENTRIES ? quarter : XDP_RING_ENTRIES;
}

static struct xdp *xdp_of(const struct vi *vi)
{
	return vi->memory;
}

/* -- rings ---------------------------------------------------------------------------------------------------------------- */

static uint32_t used(const struct xdp_ring *ring)
{
	return load_acquire(ring->producer) - load_acquire(ring->consumer);
}

static struct xdp_desc *packet_at(const struct xdp_ring *ring, uint32_t number)
{
	return (struct xdp_desc *)ring->entries + (number & ring->mask);
}

static uint64_t *address_at(const struct xdp_ring *ring, uint32_t number)
{
	return (uint64_t *)ring->entries + (number & ring->mask);
}

/* Where in the UMEM a cell's byte is. */
static uint64_t place_of(uint32_t index, uint32_t offset)
{
	return (uint64_t)index * CELL_BYTES + offset;
}

static void fill(struct xdp *xdp, struct stack *stack)
{
	uint32_t target = fill_target(stack), index;

	while (used(&xdp->fill) < target && (index = stack_take_cell_held(stack)) != CELL_NONE) {
		uint32_t number = load_relaxed(xdp->fill.producer);

		*address_at(&xdp->fill, number) = place_of(index, 0);
		store_release(xdp->fill.producer, number + 1);
	}
}

/* What has been sent is ours again. */
static void reap(struct xdp *xdp, struct stack *stack)
{
	while (used(&xdp->completion)) {
		uint32_t number = load_relaxed(xdp->completion.consumer);
		uint64_t place = *address_at(&xdp->completion, number);

		store_release(xdp->completion.consumer, number + 1);
		stack_give_back_held(stack, (uint32_t)(place / CELL_BYTES));
	}
}

/* -- in ------------------------------------------------------------------------------------------------------------------- */

static int has_packet(const struct vi *vi)
{
	const struct xdp_ring *rx = &xdp_of(vi)->rx;

	return load_relaxed(rx->producer) != load_relaxed(rx->consumer);
}

/* A frame that lies in the cell becomes the packet in it, in the stack's hand. */
static void take_frame(struct xdp *xdp, struct stack *stack, uint32_t index, uint32_t offset, uint32_t bytes)
{
	const uint8_t *frame = stack_cell_bytes(stack, index) + offset;
	uint32_t header = offset + bytes <= CELL_BYTES ? ethernet_header_bytes(frame, bytes) : 0;
	struct cell *cell = stack_cell(stack, index);

	if (!header) {
		xdp->not_ip++;
		stack_give_back_held(stack, index);
		return;
	}
	cell->offset = (uint16_t)(offset + header);
	cell->bytes = (uint16_t)(bytes - header);
	cell->note = xdp->is_partial_possible && ethernet_is_partial(frame + header, bytes - header) ? CELL_CHECKED : 0;
	stack_hold(stack, index);
}

/* Counted before it is in anybody's hand: a death in between loses it, and gives it to nobody twice. */
static void take(struct vi *vi, struct stack *stack)
{
	struct xdp *xdp = xdp_of(vi);
	uint32_t waiting = used(&xdp->rx);

	for (; waiting && stack->hand_count < STACK_BATCH; waiting--) {
		uint32_t number = load_relaxed(xdp->rx.consumer);
		struct xdp_desc frame = *packet_at(&xdp->rx, number);

		store_release(xdp->rx.consumer, number + 1);
		take_frame(xdp, stack, (uint32_t)(frame.addr / CELL_BYTES), frame.addr % CELL_BYTES, frame.len);
	}
	fill(xdp, stack);
}

/* -- out ------------------------------------------------------------------------------------------------------------------ */

static const struct xdp_neighbour *neighbour_of(const struct xdp *xdp, const struct address *address)
{
	for (uint32_t i = 0; i < XDP_NEIGHBOURS_MAX && xdp->neighbours[i].is_known; i++)
		if (address_equal(&xdp->neighbours[i].address, address))
			return &xdp->neighbours[i];
	return NULL;
}

static int has_room(const struct vi *vi)
{
	return used(&xdp_of(vi)->tx) < XDP_RING_ENTRIES;
}

static void put(struct vi *vi, struct stack *stack, uint32_t index)
{
	struct xdp *xdp = xdp_of(vi);
	struct cell *cell = stack_cell(stack, index);
	uint8_t *packet = stack_cell_bytes(stack, index) + cell->offset;
	struct address destination = ethernet_destination(packet);
	const struct xdp_neighbour *neighbour = neighbour_of(xdp, &destination);
	uint32_t number = load_relaxed(xdp->tx.producer);

	if (!neighbour) {
		xdp->no_neighbour++;
		stack_give_back_held(stack, index);
		return;
	}
	ethernet_write(packet - ETHERNET_BYTES, neighbour->mac, xdp->mac, packet);
	*packet_at(&xdp->tx, number) = (struct xdp_desc){
		.addr = place_of(index, cell->offset - ETHERNET_BYTES),
		.len = cell->bytes + ETHERNET_BYTES,
	};
	store_release(xdp->tx.producer, number + 1);
	vi->must_kick = 1;
}

/* In copy mode the kernel sends from within the call, a few dozen at a time. */
static void kick(struct vi *vi)
{
	struct xdp *xdp = xdp_of(vi);
	long result;

	vi->must_kick = 0;
	do {
		if (!(load_relaxed(xdp->tx.flags) & XDP_RING_NEED_WAKEUP))
			return;
		result = sys_sendto(xdp->fd, NULL, 0, MSG_DONTWAIT);
	} while (used(&xdp->tx) && (result >= 0 || result == -EAGAIN));
}

static void before_put(struct vi *vi, struct stack *stack)
{
	reap(xdp_of(vi), stack);
}

/* Every number was written last of what it counts: there is nothing that is half done. */
static void repair(struct vi *vi)
{
	vi->must_kick = 1;
}

static const struct vi_kind kind_xdp = {
	.has_packet = has_packet,
	.take = take,
	.before_put = before_put,
	.has_room = has_room,
	.put = put,
	.kick = kick,
	.repair = repair,
};

/* -- opening -------------------------------------------------------------------------------------------------------------- */

static int map_ring(struct xdp_ring *ring, int fd, const struct xdp_ring_offset *at, uint64_t where, size_t entry_bytes)
{
	size_t bytes = at->desc + XDP_RING_ENTRIES * entry_bytes;
	long result = SYS6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, where);
	char *memory = (char *)result;

	if (result < 0 && result > -4096)
		return (int)result;
	*ring = (struct xdp_ring){
		.producer = (uint32_t *)(memory + at->producer),
		.consumer = (uint32_t *)(memory + at->consumer),
		.flags = (uint32_t *)(memory + at->flags),
		.entries = memory + at->desc,
		.mask = XDP_RING_ENTRIES - 1,
	};
	return 0;
}

static int map_rings(struct xdp *xdp, int fd)
{
	struct xdp_mmap_offsets at;
	unsigned bytes = sizeof(at);
	int result = (int)sys_getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &bytes);

	if (!result)
		result = map_ring(&xdp->rx, fd, &at.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	if (!result)
		result = map_ring(&xdp->tx, fd, &at.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	if (!result)
		result = map_ring(&xdp->fill, fd, &at.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t));
	if (!result)
		result = map_ring(&xdp->completion, fd, &at.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t));
	return result;
}

uint64_t byway_xdp_bytes(void)
{
	return sizeof(struct xdp);
}

int byway_xdp_open(struct vi *vi, void *memory, struct stack *stack, int fd, const uint8_t mac[6], uint32_t interface,
                   int is_partial_possible)
{
	struct xdp *xdp = memory;
	int result = map_rings(xdp, fd);

	if (result)
		return result;
	xdp->fd = fd;
	xdp->is_partial_possible = !!is_partial_possible;
	memcpy(xdp->mac, mac, sizeof(xdp->mac));
	*vi = (struct vi){.kind = &kind_xdp, .interface = interface, .memory = memory};
	holding_begin(stack, 0);
	fill(xdp, stack);
	holding_end(stack);
	return 0;
}

int byway_xdp_neighbour(struct vi *vi, struct stack *stack, const struct address *address, const uint8_t mac[6])
{
	struct xdp *xdp = xdp_of(vi);
	int result = -ENOSPC;

	holding_begin(stack, 0);
	for (uint32_t i = 0; i < XDP_NEIGHBOURS_MAX && result; i++) {
		struct xdp_neighbour *one = &xdp->neighbours[i];

		if (one->is_known && !address_equal(&one->address, address))
			continue;
		one->address = *address;
		memcpy(one->mac, mac, sizeof(one->mac));
		one->is_known = 1;
		result = 0;
	}
	holding_end(stack);
	return result;
}
