/* UDP (RFC 768; RFC 1122, 4.1): datagrams to and from a socket. Its state is one endpoint's slot of a stack.
 *
 * Under the stack's lock, but for the reader's side of the queue: a datagram that has arrived stays in its cell, headers and all, until
 * the program has read it. */
#ifndef BYWAY_UDP_UDP_H
#define BYWAY_UDP_UDP_H

#include "frame/icmp.h"
#include "stack/endpoint.h"

enum {
	UDP_GROUPS_MAX = 20 /* as Linux's igmp_max_memberships */
};

/* A multicast group (RFC 1112, 7.1; RFC 3493, 5.2). */
struct udp_group {
	struct address address;
	uint32_t interface; /* on which it is heard; 0: on all */
};

struct udp {
	struct endpoint end;
	uint32_t receive_bytes; /* of payload that may wait to be read */
	uint32_t group_count;
	struct udp_group groups[UDP_GROUPS_MAX];
	uint8_t is_broadcaster; /* SO_BROADCAST */
	uint8_t multicast_hop_limit; /* RFC 1112, 6.1: 1 */
	uint8_t multicast_loop; /* not done here: the kernel has the sender's own copy */
	uint8_t pad[5];

	/* A chain of cells, from `last` of the writer (who has the stack's lock) to `first` of the reader: the reader's own cell is one whose
	 * datagram it has read already. Cells [taken, put) wait to be read. */
	uint32_t put __attribute__((aligned(64)));
	uint32_t put_bytes;
	uint32_t last;
	uint32_t begin;
	uint32_t taken __attribute__((aligned(64)));
	uint32_t taken_bytes;
	uint32_t first;
	uint64_t receive_lock; /* of the readers */
};
_Static_assert(sizeof(struct udp) <= ENDPOINT_BYTES, "a slot");

static inline struct udp *udp_at(const struct stack *stack, uint32_t index)
{
	return endpoint_slot(stack, index);
}

/* A datagram that was read: from whom, to which of our addresses, by which interface. */
struct udp_arrival {
	struct address source;
	struct address destination;
	uint16_t source_port;
	uint16_t pad;
	uint32_t interface;
	uint32_t bytes; /* of the whole datagram, however many were copied */
	uint8_t hop_limit;
	uint8_t traffic_class;
	uint8_t pad2[2];
};
_Static_assert(sizeof(struct udp_arrival) == 48, "read by Python");

void udp_defaults(const struct stack *stack, struct udp *udp);

/* A packet that has arrived by `interface` is for UDP: takes the cell, or gives it back. */
void udp_receive(struct stack *stack, uint32_t cell, const struct packet *packet, uint32_t interface);
/* Of an error in an ICMP message only a connected socket is told (RFC 1122, 4.1.3.3; udp(7)). */
void udp_receive_error(struct stack *stack, const struct icmp_error *error);

/* Bytes sent, or a negative errno: EMSGSIZE: more than a packet of the link; ENOBUFS; EADDRNOTAVAIL: it has no
 * address to send from; EACCES: a broadcast that was not asked for. */
int udp_send(struct stack *stack, uint32_t index, const struct address *to, uint16_t port, const uint8_t *from,
             uint32_t bytes);

/* 0; EINVAL: no multicast address; EADDRINUSE: it is a member; ENOBUFS: of too many. Leaving: EADDRNOTAVAIL: it is none. */
int udp_join(struct stack *stack, uint32_t index, const struct address *group, uint32_t interface);
int udp_leave(struct stack *stack, uint32_t index, const struct address *group, uint32_t interface);

/* The reader, under receive_lock. Copies up to `bytes` bytes; -EAGAIN: nothing waits. The datagram is gone unless `peek`. */
int udp_take(struct stack *stack, struct udp *udp, uint8_t *to, uint32_t bytes, int peek, struct udp_arrival *arrival);
static inline uint32_t udp_waiting(const struct udp *udp)
{
	return load_acquire(&udp->put) - load_acquire(&udp->taken);
}

/* Nobody uses the socket any more. */
void udp_end(struct stack *stack, uint32_t index);

#endif
