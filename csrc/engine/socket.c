/* What sockets of both kinds have: opening, binding, readiness, addresses, errors, closing. */
#include <errno.h>
#include <poll.h>

#include "engine/engine.h"
#include "engine/holding.h"
#include "tcp/rules.h"

#define POLL_READ_HANG_UP 0x2000u /* POLLRDHUP, which <poll.h> has for _GNU_SOURCE alone */

int byway_socket_open(struct stack *stack, uint32_t protocol)
{
	int is_stream = protocol == PROTOCOL_TCP;
	uint32_t index;

	if (!is_stream && protocol != PROTOCOL_UDP)
		return -EPROTONOSUPPORT;
	holding_begin(stack, 0);
	index = endpoint_take(stack, is_stream ? ENDPOINT_STREAM : ENDPOINT_DATAGRAM, (uint8_t)protocol);
	if (index && is_stream)
		tcp_defaults(stack, tcp_at(stack, index));
	else if (index)
		udp_defaults(stack, udp_at(stack, index));
	holding_end(stack);
	return index ? (int)index : -ENFILE;
}

/* A listener takes its port when it listens, a UDP socket here. */
static int bind_to(struct stack *stack, uint32_t index, const struct address *local, uint32_t port)
{
	struct endpoint *endpoint = endpoint_at(stack, index);

	if (endpoint->local_port || !port || port > UINT16_MAX)
		return -EINVAL;
	endpoint->local = *local;
	endpoint->local_port = (uint16_t)port;
	if (endpoint_is_taken(stack, endpoint)) {
		endpoint->local_port = 0;
		return -EADDRINUSE;
	}
	if (endpoint->kind == ENDPOINT_DATAGRAM)
		endpoint_enter(stack, index, ENDPOINT_BOUND);
	return 0;
}

int byway_socket_bind(struct stack *stack, uint32_t socket, const struct address *local, uint32_t port)
{
	int result = -EBADF;

	holding_begin(stack, 0);
	if (holding_stream(stack, socket) || holding_datagram(stack, socket))
		result = bind_to(stack, socket, local, port);
	holding_end(stack);
	return result;
}

void byway_socket_close(struct stack *stack, uint32_t socket, uint64_t now_ns)
{
	holding_begin(stack, now_ns);
	stack->busy_with = socket;
	if (holding_stream(stack, socket))
		tcp_detach(stack, socket);
	else if (holding_datagram(stack, socket))
		udp_end(stack, socket);
	stack->busy_with = 0;
	holding_end(stack);
}

/* -- readiness ------------------------------------------------------------------------------------------------------------ */

/* As Linux has it: while at least a third of the buffer is free. */
static int has_room(const struct tcp *tcp)
{
	return byte_queue_count(&tcp->sent_bytes) <= tcp->options.send_bytes / 3 * 2;
}

static int may_still_send(const struct tcp *tcp)
{
	uint8_t state = load_relaxed(&tcp->state);

	return (state == STATE_ESTABLISHED || state == STATE_CLOSE_WAIT) && !load_relaxed(&tcp->send_closed);
}

static uint32_t readable(const struct tcp *tcp)
{
	int has_end = load_acquire(&tcp->fin_received) || load_relaxed(&tcp->receive_closed);

	return byte_queue_count(&tcp->received_bytes) || has_end ? POLLIN : 0;
}

static uint32_t urgent(const struct tcp *tcp)
{
	return load_acquire(&tcp->has_urgent_in) && !load_relaxed(&tcp->urgent_taken) ? POLLPRI : 0;
}

/* tcp_poll of Linux: both sides closed is a hang-up; only the peer is a read hang-up. */
static uint32_t ready_connection(const struct tcp *tcp)
{
	uint32_t ready = readable(tcp) | urgent(tcp);

	if (load_relaxed(&tcp->send_closed) || (may_still_send(tcp) && has_room(tcp)))
		ready |= POLLOUT;
	if (load_acquire(&tcp->fin_received) || load_relaxed(&tcp->receive_closed))
		ready |= POLL_READ_HANG_UP;
	if (load_acquire(&tcp->fin_received) && load_relaxed(&tcp->send_closed))
		ready |= POLLHUP;
	return ready;
}

static uint32_t ready_stream(const struct tcp *tcp)
{
	switch (load_relaxed(&tcp->state)) {
	case STATE_LISTEN:
		return load_relaxed(&tcp->accept_count) ? POLLIN : 0;
	case STATE_SYN_SENT:
	case STATE_SYN_RECEIVED:
		return 0;
	case STATE_CLOSED:
		return POLLIN | POLLOUT | POLLHUP | POLL_READ_HANG_UP;
	default:
		return ready_connection(tcp);
	}
}

uint32_t byway_socket_ready(const struct stack *stack, uint32_t socket)
{
	const struct endpoint *endpoint = endpoint_at(stack, socket);
	uint32_t ready = load_relaxed(&endpoint->error) ? POLLERR : 0;

	if (endpoint->kind == ENDPOINT_STREAM)
		return ready | ready_stream(tcp_at(stack, socket));
	if (endpoint->kind == ENDPOINT_DATAGRAM)
		return ready | POLLOUT | (udp_waiting(udp_at(stack, socket)) ? POLLIN : 0);
	return POLLNVAL;
}

int byway_socket_take_error(struct stack *stack, uint32_t socket)
{
	return exchange(&endpoint_at(stack, socket)->error, 0);
}

int byway_socket_address(const struct stack *stack, uint32_t socket, int is_remote, struct address *address)
{
	const struct endpoint *endpoint = endpoint_at(stack, socket);

	if (is_remote && (!endpoint->remote_port || endpoint->table != ENDPOINT_CONNECTED))
		return -ENOTCONN;
	*address = is_remote ? endpoint->remote : endpoint->local;
	return is_remote ? endpoint->remote_port : endpoint->local_port;
}
