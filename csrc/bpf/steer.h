/* What the XDP program and those who fill its maps agree on (src/byway/kernel/steer.py has the same). Multi-byte fields of a flow are
 * as on the wire. */
#ifndef BYWAY_BPF_STEER_H
#define BYWAY_BPF_STEER_H

#include "helpers.h"

/* A filter: the flow whose packets are the stack's. Addresses as in csrc/frame/address.h; a remote end of zeros is any; a local address
 * of zeros is any of the family that `family` says. */
struct flow {
	u8 protocol;
	u8 family; /* 4 or 6: of the packet */
	u16 local_port;
	u16 remote_port;
	u16 pad;
	u32 local[4];
	u32 remote[4];
};

enum steer_flag {
	STEER_ASK_KERNEL = 1, /* a listener's: what the kernel has a connection for is the kernel's */
	STEER_GONE = 2 /* nobody has the stack any more: dropped, or the kernel would reset the peer's connection */
};

struct steer {
	u32 stack; /* number of the stack, of STACKS_MAX */
	u32 flags;
};

enum {
	FLOWS_MAX = 1 << 16,
	STACKS_MAX = 64,
	QUEUES_MAX = 64
};

/* What is counted, for each cause. */
enum steer_count {
	COUNT_PASSED, /* nobody's here: the kernel's */
	COUNT_STEERED,
	COUNT_KERNELS_OWN, /* a listener's port, but the kernel has the connection */
	COUNT_NO_SOCKET, /* the stack has no socket on this queue: dropped */
	COUNT_GONE, /* STEER_GONE: dropped */
	COUNT_FRAGMENT, /* of addresses between which flows are filtered: dropped */
	COUNT_EGRESS_DROPPED, /* the kernel would have answered for a flow of ours */
	COUNTS
};

#endif
