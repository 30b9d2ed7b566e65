/* Which packets are a stack's, and which stay the kernel's: exact filters, and for all else the kernel goes on as if nothing were here.
 *
 * `steer` runs on an adapter's queue, before the kernel; `hush` on its way out (tcx): of a flow that is Byway's the kernel, which knows
 * nothing of it, must send nothing. IPv4 and IPv6, TCP and UDP, up to two VLAN tags. What cannot be read passes. */
#include "steer.h"

struct map flows SECTION("maps") = {MAP_HASH, sizeof(struct flow), sizeof(struct steer), FLOWS_MAX, MAP_ON_DEMAND};
struct map sockets SECTION("maps") = {MAP_XSK, sizeof(u32), sizeof(u32), STACKS_MAX * QUEUES_MAX, 0};
/* Addresses between which flows are filtered, to whose fragments nobody else may answer. */
struct map pairs SECTION("maps") = {MAP_HASH, 8 * sizeof(u32), sizeof(u32), FLOWS_MAX, MAP_ON_DEMAND};
struct map counts SECTION("maps") = {MAP_PERCPU_ARRAY, sizeof(u32), sizeof(u64), COUNTS, 0};

enum {
	ETHERNET_BYTES = 14,
	VLAN_BYTES = 4,
	IPV6_BYTES = 40,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	NEXT_FRAGMENT = 44
};
#define ETHERTYPE(value) __builtin_bswap16(value)
#define MAPPED __builtin_bswap32(0xffff) /* ::ffff:0:0/96 */

/* What a packet says of itself, seen from us: where it comes from is remote. */
struct seen {
	struct flow flow;
	u32 is_fragment;
};

INLINE void count(u32 what)
{
	u64 *value = map_lookup(&counts, &what);

	if (value)
		++*value;
}

/* -- reading -------------------------------------------------------------------------------------------------------------- */

struct reader {
	const u8 *at;
	const u8 *end;
};

/* `bytes` more are there. */
INLINE int has(const struct reader *reader, u32 bytes)
{
	return reader->at + bytes <= reader->end;
}

/* Past the Ethernet header and VLAN tags. The EtherType; 0: the packet is too short. */
INLINE u16 read_ethernet(struct reader *reader)
{
	u16 type;

	if (!has(reader, ETHERNET_BYTES))
		return 0;
	type = *(const u16 *)(reader->at + 12);
	reader->at += ETHERNET_BYTES;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (type != ETHERTYPE(0x8100) && type != ETHERTYPE(0x88a8))
			break;
		if (!has(reader, VLAN_BYTES))
			return 0;
		type = *(const u16 *)(reader->at + 2);
		reader->at += VLAN_BYTES;
	}
	return type;
}

/* `to` and `from`: destination and source as 16 bytes. */
INLINE int read_v4(struct reader *reader, struct seen *seen)
{
	const u8 *header = reader->at;
	u32 bytes;

	if (!has(reader, 20))
		return 0;
	bytes = (header[0] & 0xf) * 4;
	seen->flow.family = 4;
	seen->flow.protocol = header[9];
	seen->is_fragment = *(const u16 *)(header + 6) & __builtin_bswap16(0x3fff);
	seen->flow.remote[2] = seen->flow.local[2] = MAPPED;
	seen->flow.remote[3] = *(const u32 *)(header + 12);
	seen->flow.local[3] = *(const u32 *)(header + 16);
	if (bytes < 20)
		return 0;
	reader->at += bytes;
	return 1;
}

INLINE int read_v6(struct reader *reader, struct seen *seen)
{
	const u8 *header = reader->at;

	if (!has(reader, IPV6_BYTES))
		return 0;
	seen->flow.family = 6;
	seen->flow.protocol = header[6];
	seen->is_fragment = header[6] == NEXT_FRAGMENT;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		seen->flow.remote[i] = *(const u32 *)(header + 8 + 4 * i);
		seen->flow.local[i] = *(const u32 *)(header + 24 + 4 * i);
	}
	reader->at += IPV6_BYTES;
	return 1;
}

/* 1: it is of TCP or UDP, or a fragment of whatever, and `seen` says whose. */
INLINE int read_packet(struct reader *reader, struct seen *seen)
{
	u16 type = read_ethernet(reader);

	if (type == ETHERTYPE(0x0800) ? !read_v4(reader, seen) : type != ETHERTYPE(0x86dd) || !read_v6(reader, seen))
		return 0;
	if (seen->is_fragment)
		return 1;
	if ((seen->flow.protocol != PROTOCOL_TCP && seen->flow.protocol != PROTOCOL_UDP) || !has(reader, 4))
		return 0;
	seen->flow.remote_port = *(const u16 *)reader->at;
	seen->flow.local_port = *(const u16 *)(reader->at + 2);
	return 1;
}

/* -- whose it is ---------------------------------------------------------------------------------------------------------- */

/* The exact filter before one of any remote end, its own address before any. */
INLINE struct steer *find(const struct flow *flow)
{
	struct flow wanted = *flow;
	struct steer *steer = map_lookup(&flows, &wanted);

	if (steer)
		return steer;
	wanted.remote_port = 0;
	wanted.remote[0] = wanted.remote[1] = wanted.remote[2] = wanted.remote[3] = 0;
	steer = map_lookup(&flows, &wanted);
	if (steer)
		return steer;
	wanted.local[0] = wanted.local[1] = wanted.local[2] = wanted.local[3] = 0;
	return map_lookup(&flows, &wanted);
}

INLINE int is_between_filtered(const struct flow *flow)
{
	return map_lookup(&pairs, flow->local) != 0; /* `remote` lies behind */
}

/* A connection that the kernel has: from before a reload, or handed over. */
INLINE int is_kernels(void *context, const struct flow *flow)
{
	struct kernel_tuple tuple = {0};
	struct kernel_socket *socket;
	u32 bytes = sizeof(tuple.v6), is_connection;

	if (flow->protocol != PROTOCOL_TCP)
		return 0;
	if (flow->family == 4) {
		bytes = sizeof(tuple.v4);
		tuple.v4.source = flow->remote[3];
		tuple.v4.destination = flow->local[3];
		tuple.v4.source_port = flow->remote_port;
		tuple.v4.destination_port = flow->local_port;
	} else {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			tuple.v6.source[i] = flow->remote[i];
			tuple.v6.destination[i] = flow->local[i];
		}
		tuple.v6.source_port = flow->remote_port;
		tuple.v6.destination_port = flow->local_port;
	}
	socket = find_tcp(context, &tuple, bytes, THIS_NETWORK_NAMESPACE, 0);
	if (!socket)
		return 0;
	is_connection = socket->state != KERNEL_TCP_LISTEN;
	socket_release(socket);
	return is_connection;
}

INLINE int to_stack(struct xdp_context *context, const struct steer *steer)
{
	u32 slot = steer->stack % STACKS_MAX * QUEUES_MAX + context->rx_queue_index % QUEUES_MAX;
	long action;

	if (steer->flags & STEER_GONE) {
		count(COUNT_GONE);
		return XDP_DROP;
	}
	action = redirect_map(&sockets, slot, XDP_DROP);
	count(action == XDP_DROP ? COUNT_NO_SOCKET : COUNT_STEERED);
	return (int)action;
}

SECTION("xdp") int steer(struct xdp_context *context)
{
	struct reader reader = {(const u8 *)(u64)context->data, (const u8 *)(u64)context->data_end};
	struct seen seen = {0};
	struct steer *steer;

	if (!read_packet(&reader, &seen))
		return XDP_PASS;
	if (seen.is_fragment && is_between_filtered(&seen.flow)) {
		count(COUNT_FRAGMENT);
		return XDP_DROP;
	}
	steer = seen.is_fragment ? 0 : find(&seen.flow);
	if (!steer) {
		count(COUNT_PASSED);
		return XDP_PASS;
	}
	if (steer->flags & STEER_ASK_KERNEL && is_kernels(context, &seen.flow)) {
		count(COUNT_KERNELS_OWN);
		return XDP_PASS;
	}
	return to_stack(context, steer);
}

/* -- the way out ---------------------------------------------------------------------------------------------------------- */

INLINE void turn(struct flow *flow)
{
	u16 port = flow->local_port;

	flow->local_port = flow->remote_port;
	flow->remote_port = port;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		u32 word = flow->local[i];

		flow->local[i] = flow->remote[i];
		flow->remote[i] = word;
	}
}

SECTION("tcx") int hush(struct skb_context *context)
{
	struct reader reader = {(const u8 *)(u64)context->data, (const u8 *)(u64)context->data_end};
	struct seen seen = {0};
	struct steer *steer;

	if (!read_packet(&reader, &seen) || seen.is_fragment || seen.flow.protocol != PROTOCOL_TCP)
		return TCX_NEXT;
	turn(&seen.flow);
	steer = find(&seen.flow);
	if (!steer || steer->flags & STEER_ASK_KERNEL)
		return TCX_NEXT;
	count(COUNT_EGRESS_DROPPED);
	return TCX_DROP;
}

char terms[] SECTION("license") = "Apache-2.0";
