/* Edges that the program has been shown, when the kernel goes on with a socket.
 *
 * Decides which of them are edges still: what the kernel learns then is new to the kernel, and it would show it once more.
 * edge.c takes what is too much. Callers: set_hooks.c and set_process.c, under sets_lock. */
#define _GNU_SOURCE
#include "wait/set.h"

#include "local/offset.h"
#include "wait/edge.h"
#include "wait/signal.h"

/* The kernel is about to see the item's socket in another light. Has the program been shown all that there is? First what
 * there is, then the edges: what comes between the two is an edge that is due. */
void item_edge_hold(struct set *set, struct item *item)
{
	struct sock *sock = item_sock(item);
	enum edge kernels;

	item->edge = EDGE_AS_IT_COMES;
	if (!(item->events & EPOLLET) || item->disabled || item->fd_closed || set->forked || thread.vforked)
		return;
	item->held_bytes = offset_waiting(item->fd) + (sock_is_engine(sock) ? (long)local_ring_unread(&sock->end) : 0);
	item->held_events = item_kernel_events(item->fd, ~(uint32_t)READ_EVENTS & 0x7fff) & ~(uint32_t)READ_EVENTS;
	set_collect(set);
	kernels = edge_take(set->fd, item->data);
	/* A sender posts after it has published: what nobody has been told of yet is due. */
	if (kernels == EDGE_TAKEN || (kernels == EDGE_NONE && (item_published(item) != item->looked_at ||
	                                                       (item->in_ready && item_edge_events(item)))))
		item->edge = EDGE_IS_DUE;
	else if (kernels == EDGE_NONE)
		item->edge = EDGE_IS_SHOWN;
}

/* The kernel has it now. What is new since then is an edge, and nothing else is. */
static void edge_settle(struct set *set, struct item *item, struct epoll_event registration)
{
	enum held_edge edge = item->edge;

	item->edge = EDGE_AS_IT_COMES;
	if (edge == EDGE_AS_IT_COMES)
		return;
	set_ready_remove(set, item);
	if (edge == EDGE_IS_SHOWN && edge_take(set->fd, item->data) != EDGE_UNKNOWN &&
	    offset_waiting(item->fd) == item->held_bytes &&
	    (item_kernel_events(item->fd, ~(uint32_t)READ_EVENTS & 0x7fff) & ~(uint32_t)READ_EVENTS) == item->held_events)
		return;
	edge_register(set->fd, item->fd, registration);
}

/* The same of an item that we go on with. */
void item_edge_settle(struct set *set, struct item *item)
{
	struct epoll_event event = item_exact_registration(item);

	edge_settle(set, item, set_registration_of(&event));
}

/* The kernel alone goes on with the item, and must have what the program registered; what is edge-triggered shows none by
 * that. */
void item_leave_exact(struct set *set, struct item *item)
{
	struct epoll_event event = item_exact_registration(item);

	if (set->forked || item->fd_closed)
		return;
	if (item->tagged || item->absent) {
		item_untag(item);
	} else if (item->disabled) {
		if (item->disarmed)
			item_withhold(set, item);
	} else if (event.events & EPOLLIN && !(event.events & (EPOLLRDHUP | EPOLLEXCLUSIVE))) {
		item_edge_hold(set, item);
		if (!(item->events & EPOLLET) || item->edge != EDGE_AS_IT_COMES)
			sys_epoll_ctl(set->fd, EPOLL_CTL_MOD, item->fd, &event);
		edge_settle(set, item, event);
	}
}
