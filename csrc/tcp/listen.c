/* Listeners: a SYN makes a child (RFC 9293, 3.10.7.2), which waits in SYN-RECEIVED, then to be accepted.
 *
 * Both queues are bounded by the backlog, as Linux bounds them: where nobody accepts, the last step of a handshake waits for the peer to
 * try again, and new SYNs are dropped. A child that ends before its handshake does goes back to LISTEN, that is, away. */
#include <errno.h>

#include "tcp/rules.h"

/* RFC 9293, 3.10.1, passive. 0, or a negative errno. */
int tcp_start_listening(struct stack *stack, uint32_t index, uint32_t backlog)
{
	struct tcp *tcp = tcp_at(stack, index);

	if (tcp->state != STATE_CLOSED && tcp->state != STATE_LISTEN)
		return -EINVAL;
	if (!tcp->end.local_port)
		return -EINVAL;
	tcp->backlog = backlog;
	if (tcp->state == STATE_LISTEN)
		return 0;
	if (endpoint_is_taken(stack, &tcp->end))
		return -EADDRINUSE;
	tcp->state = STATE_LISTEN;
	endpoint_enter(stack, index, ENDPOINT_BOUND);
	return 0;
}

static int queue_is_full(const struct tcp *listener)
{
	return listener->accept_count > listener->backlog;
}

static int may_begin(const struct tcp *listener)
{
	return !queue_is_full(listener) && listener->syn_count <= listener->backlog;
}

/* As the listener is, with the addresses that the SYN says. */
static void describe_child(struct stack *stack, struct tcp *child, const struct tcp *listener,
                           const struct arrival *arrival)
{
	tcp_defaults(stack, child);
	child->options = listener->options;
	child->end.hop_limit = listener->end.hop_limit;
	child->end.traffic_class = listener->end.traffic_class;
	child->end.interface = listener->end.interface;
	child->end.local = arrival->packet->destination;
	child->end.local_port = arrival->segment.destination_port;
	child->end.remote = arrival->packet->source;
	child->end.remote_port = arrival->segment.source_port;
	child->parent = endpoint_index(stack, listener);
}

static void make_child(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *listener = arrival->tcp, *child;
	uint32_t index = may_begin(listener) ? endpoint_take(stack, ENDPOINT_STREAM, PROTOCOL_TCP) : 0;

	if (!index) {
		stack_count(stack, STACK_syns_dropped);
		return;
	}
	child = tcp_at(stack, index);
	describe_child(stack, child, listener, arrival);
	endpoint_enter(stack, index, ENDPOINT_CONNECTED);
	begin_connection(stack, child);
	begin_peer_numbers(child, &arrival->segment);
	begin_read_options(stack, child, &arrival->segment);
	child->state = STATE_SYN_RECEIVED;
	listener->syn_count++;
	emit_syn(stack, child);
}

/* RFC 9293, 3.10.7.2. */
void listen_segment(struct arrival *arrival)
{
	uint8_t flags = arrival->segment.flags;

	if (flags & SEGMENT_RST)
		return;
	if (flags & SEGMENT_ACK)
		emit_reset_for(arrival->stack, arrival->packet, &arrival->segment);
	else if (flags & SEGMENT_SYN)
		make_child(arrival);
}

static struct tcp *listener_of(const struct stack *stack, const struct tcp *child)
{
	return tcp_at(stack, child->parent);
}

/* Whether a handshake may end: yes where there is no queue to wait in. */
int listen_has_room(const struct stack *stack, const struct tcp *child)
{
	return !child->parent || !queue_is_full(listener_of(stack, child));
}

void listen_established(struct stack *stack, struct tcp *child)
{
	struct tcp *listener = listener_of(stack, child);
	uint32_t index = endpoint_index(stack, child);

	listener->syn_count--;
	listener->accept_count++;
	child->end.next = 0;
	if (listener->accept_last)
		endpoint_at(stack, listener->accept_last)->next = index;
	else
		listener->accept_first = index;
	listener->accept_last = index;
	endpoint_changed(&listener->end);
	stack_count(stack, STACK_accepted);
}

static void leave_queue(struct stack *stack, struct tcp *listener, uint32_t index)
{
	uint32_t before = 0, at = listener->accept_first;

	for (uint32_t walked = 0; at && at != index && walked < stack->endpoints; walked++) {
		before = at;
		at = endpoint_at(stack, at)->next;
	}
	if (at != index || !index)
		return;
	if (before)
		endpoint_at(stack, before)->next = endpoint_at(stack, index)->next;
	else
		listener->accept_first = endpoint_at(stack, index)->next;
	if (listener->accept_last == index)
		listener->accept_last = before;
	listener->accept_count--;
}

/* The oldest connection that nobody has accepted, which is the program's from now on; 0: there is none. */
uint32_t tcp_take_accepted(struct stack *stack, uint32_t index)
{
	struct tcp *listener = tcp_at(stack, index);
	uint32_t first = listener->accept_first;

	if (!first)
		return 0;
	leave_queue(stack, listener, first);
	tcp_at(stack, first)->parent = 0;
	return first;
}

/* Our SYN is acknowledged: it stands in the queue. */
static int waits_to_be_accepted(const struct tcp *child)
{
	return child->snd_una != child->iss;
}

/* Before it was accepted. One that stands in the queue stays there, and accept gives it with its error, as Linux does. 1: it is nobody's. */
int listen_child_ends(struct stack *stack, struct tcp *child)
{
	if (waits_to_be_accepted(child))
		return 0;
	listener_of(stack, child)->syn_count--;
	child->parent = 0;
	return 1;
}

static void abandon(struct stack *stack, struct tcp *listener, struct tcp *child)
{
	leave_queue(stack, listener, endpoint_index(stack, child));
	child->parent = 0;
	child->is_detached = 1;
	tcp_reset_connection(stack, child);
}

/* All children that nobody will accept are reset, as Linux resets them. */
void listen_end(struct stack *stack, struct tcp *listener)
{
	uint32_t index = endpoint_index(stack, listener);

	for (uint32_t child = 1; child < stack->endpoints; child++) {
		struct tcp *tcp = tcp_at(stack, child);

		if (tcp->end.kind == ENDPOINT_STREAM && tcp->parent == index)
			abandon(stack, listener, tcp);
	}
}
