/* Who does something that needs the stack's lock begins and ends with these. */
#ifndef BYWAY_ENGINE_HOLDING_H
#define BYWAY_ENGINE_HOLDING_H

#include "stack/endpoint.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

/* Waits for the lock; repairs what a dead holder has left; tells the time. */
void holding_begin(struct stack *stack, uint64_t now_ns);
/* Does what others left meanwhile, and lets go. */
void holding_end(struct stack *stack);
/* There are bytes to send, or there is room to offer: done now, or by who has the lock. */
void holding_leave_work(struct stack *stack, uint32_t socket, uint64_t now_ns);

/* 1: the lock was free, and is taken. Never waits. */
int holding_try(struct stack *stack, uint64_t now_ns);
/* byway_tcp_send but for what follows of it: whether there is something to send now. Without the lock. */
int64_t holding_write_later(struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes, int flags,
                            uint64_t now_ns, int *has_work);

/* For those that hold the lock: packets that came together, in cells of the stack's; what is due. */
void holding_receive(struct stack *stack, uint32_t interface);
void holding_run_due(struct stack *stack);
/* Whether a tick has passed since the timers were looked at. Without the lock. */
int holding_timers_are_due(const struct stack *stack, uint64_t now_ns);

/* What a dead holder has left half done (engine/repair.c). The lock is held. */
void repair_stack(struct stack *stack);

/* The socket, if it is one of the kind. NULL: it is not. */
static inline struct tcp *holding_stream(const struct stack *stack, uint32_t socket)
{
	struct tcp *tcp = tcp_at(stack, socket);

	return socket && socket < stack->endpoints && tcp->end.kind == ENDPOINT_STREAM ? tcp : NULL;
}

static inline struct udp *holding_datagram(const struct stack *stack, uint32_t socket)
{
	struct udp *udp = udp_at(stack, socket);

	return socket && socket < stack->endpoints && udp->end.kind == ENDPOINT_DATAGRAM ? udp : NULL;
}

#endif
