/* A UDP socket's calls. */
#include <errno.h>
#include <sys/socket.h>

#include "base/lock.h"
#include "engine/engine.h"
#include "engine/holding.h"

/* Connected, it is found by both ends; not connected, by its own. */
static int connect_to(struct stack *stack, uint32_t socket, const struct address *remote, uint32_t port)
{
	struct endpoint *endpoint = endpoint_at(stack, socket);

	if (!endpoint->local_port || port > UINT16_MAX)
		return -EINVAL;
	if (!port) {
		endpoint->remote_port = 0;
		endpoint_enter(stack, socket, ENDPOINT_BOUND);
		return 0;
	}
	if (address_is_ipv4(remote) != address_is_ipv4(&endpoint->local))
		return -EAFNOSUPPORT;
	endpoint_leave(stack, socket);
	endpoint->remote = *remote;
	endpoint->remote_port = (uint16_t)port;
	endpoint_enter(stack, socket, ENDPOINT_CONNECTED);
	return 0;
}

int byway_udp_connect(struct stack *stack, uint32_t socket, const struct address *remote, uint32_t port)
{
	int result = -EBADF;

	holding_begin(stack, 0);
	if (holding_datagram(stack, socket))
		result = connect_to(stack, socket, remote, port);
	holding_end(stack);
	return result;
}

/* 0, or why nothing is sent; *to and *port are where it goes. */
static int find_destination(struct udp *udp, const struct address **to, uint32_t *port)
{
	int error = exchange(&udp->end.error, 0);

	if (error)
		return -error;
	if (!*to) {
		*to = &udp->end.remote;
		*port = udp->end.remote_port;
		if (!*port)
			return -EDESTADDRREQ;
	}
	return udp->end.local_port && *port && *port <= UINT16_MAX ? 0 : -EINVAL;
}

int byway_udp_send(struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes, const struct address *to,
                   uint32_t port)
{
	struct udp *udp = holding_datagram(stack, socket);
	int result = udp ? find_destination(udp, &to, &port) : -EBADF;

	if (result)
		return result;
	holding_begin(stack, 0);
	result = udp_send(stack, socket, to, (uint16_t)port, from, bytes);
	holding_end(stack);
	return result;
}

int byway_udp_receive(struct stack *stack, uint32_t socket, uint8_t *to, uint32_t bytes, int flags,
                      struct udp_arrival *arrival)
{
	struct udp *udp = holding_datagram(stack, socket);
	int result, error;

	if (!udp)
		return -EBADF;
	error = exchange(&udp->end.error, 0);
	if (error)
		return -error;
	lock_acquire(&udp->receive_lock);
	result = udp_take(stack, udp, to, bytes, flags & MSG_PEEK, arrival);
	lock_release(&udp->receive_lock);
	return result;
}

int byway_udp_join(struct stack *stack, uint32_t socket, const struct address *group, uint32_t interface)
{
	int result = -EBADF;

	holding_begin(stack, 0);
	if (holding_datagram(stack, socket))
		result = udp_join(stack, socket, group, interface);
	holding_end(stack);
	return result;
}

int byway_udp_leave(struct stack *stack, uint32_t socket, const struct address *group, uint32_t interface)
{
	int result = -EBADF;

	holding_begin(stack, 0);
	if (holding_datagram(stack, socket))
		result = udp_leave(stack, socket, group, interface);
	holding_end(stack);
	return result;
}
