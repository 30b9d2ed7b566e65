/* What a BPF program needs of the kernel's interface (include/uapi/linux/bpf.h): contexts, helpers by their numbers, maps. Numbers and
 * layouts never change; so no header of the kernel's is needed to compile. */
#ifndef BYWAY_BPF_HELPERS_H
#define BYWAY_BPF_HELPERS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

enum xdp_action {
	XDP_ABORTED,
	XDP_DROP,
	XDP_PASS
};

/* struct xdp_md */
struct xdp_context {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

/* struct __sk_buff, as far as data_end */
struct skb_context {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol;
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 priority;
	u32 ingress_ifindex;
	u32 ifindex;
	u32 tc_index;
	u32 cb[5];
	u32 hash;
	u32 tc_classid;
	u32 data;
	u32 data_end;
};

enum tcx_action {
	TCX_NEXT = -1,
	TCX_DROP = 2
};

/* struct bpf_sock, as far as its state */
struct kernel_socket {
	u32 bound_dev_if;
	u32 family;
	u32 type;
	u32 protocol;
	u32 mark;
	u32 priority;
	u32 src_ip4;
	u32 src_ip6[4];
	u32 src_port;
	u16 dst_port;
	u16 pad;
	u32 dst_ip4;
	u32 dst_ip6[4];
	u32 state;
};
#define KERNEL_TCP_LISTEN 10 /* include/net/tcp_states.h */

/* struct bpf_sock_tuple */
struct kernel_tuple {
	union {
		struct {
			u32 source;
			u32 destination;
			u16 source_port;
			u16 destination_port;
		} v4;
		struct {
			u32 source[4];
			u32 destination[4];
			u16 source_port;
			u16 destination_port;
		} v6;
	};
};
#define THIS_NETWORK_NAMESPACE ((u64) - 1)

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const redirect_map)(void *map, u64 key, u64 otherwise) = (void *)51;
static void (*const socket_release)(struct kernel_socket *socket) = (void *)86;
static struct kernel_socket *(*const find_tcp)(void *context, struct kernel_tuple *tuple, u32 bytes, u64 namespace,
                                               u64 flags) = (void *)99;

/* A map: the loader (src/byway/kernel/bpf.py) makes one of each of the section's structures, under the variable's name. */
struct map {
	u32 type;
	u32 key_bytes;
	u32 value_bytes;
	u32 entries;
	u32 flags;
};
enum map_type {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PERCPU_ARRAY = 6,
	MAP_XSK = 17
};
#define MAP_ON_DEMAND 1 /* BPF_F_NO_PREALLOC */

#endif
