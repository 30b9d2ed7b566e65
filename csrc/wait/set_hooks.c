/* What sockets tell the sets that watch them.
 *
 * Decides what becomes of a socket's items when it begins to go through the engine, goes into the kernel, is closed, gets
 * another socket in its place, or was changed or read by the program. Callers: sock/, by sock_hooks; interpose/ and block.c
 * for what epoll.h declares. Each takes sets_lock. */
#define _GNU_SOURCE
#include "wait/set.h"

static int engine_begins(struct sock *sock, int fd)
{
	int reason = 0;

	(void)fd; /* the hook's form; bells belong to sets, not to descriptors */
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at && !reason; at = items[at - 1].next_of_sock) {
		struct set *set = item_set(&items[at - 1]);
		struct set_pair *found = set_pair_find(set, sock->end.pair);

		if (found && load_relaxed(&sock->end.rx->watch_mask) & 1u << found->bell)
			continue;
		reason = set_watch_begin(set, sock);
	}
	for (uint32_t at = sock->first_item; at && !reason; at = items[at - 1].next_of_sock) {
		items[at - 1].looked_at = item_published(&items[at - 1]);
		if (item_can_be_tagged(item_set(&items[at - 1]), &items[at - 1]))
			item_tag(item_set(&items[at - 1]), &items[at - 1]);
	}
	spinlock_release(&sets_lock);
	return reason;
}

static void sock_ends(struct sock *sock, int shared)
{
	if (!load_relaxed(&sock->first_item))
		return;
	spinlock_acquire(&sets_lock);
	while (sock->first_item) {
		struct item *item = &items[sock->first_item - 1];

		if (shared)
			item_leave_exact(item_set(item), item);
		item_free(item);
	}
	spinlock_release(&sets_lock);
}

/* The kernel's set goes on with what was registered by `fd`, and nobody can tell it anything any more. */
static void descriptor_closes(struct sock *sock, int fd)
{
	uint32_t next;

	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = next) {
		struct item *item = &items[at - 1];

		next = item->next_of_sock;
		if (item->fd != fd || item->fd_closed)
			continue;
		item_leave_exact(item_set(item), item);
		item->tagged = 0;
		item->fd_closed = 1;
		if (item->deleted)
			item_free(item);
		else if (item_events(item))
			set_ready_add(item_set(item), item);
	}
	spinlock_release(&sets_lock);
}

/* What is unread goes into the kernel: the program may have been shown it. */
static void kernel_gets(struct sock *sock)
{
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		item_edge_hold(item_set(&items[at - 1]), &items[at - 1]);
	spinlock_release(&sets_lock);
}

static void kernel_has(struct sock *sock)
{
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		item_edge_settle(item_set(&items[at - 1]), &items[at - 1]);
	spinlock_release(&sets_lock);
}

static void sets_hold(void)
{
	spinlock_acquire(&sets_lock);
}

static void sets_release(void)
{
	spinlock_release(&sets_lock);
}

/* Another socket takes the descriptor's place (sock/relay.c). The kernel's set knows the old one as long as anybody holds
 * it, and could not be told later. */
static void replace_begins(struct sock *sock, int fd)
{
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock) {
		const struct set *set = item_set(&items[at - 1]);

		if (items[at - 1].fd == fd && !set->forked) /* the kernel's set of another process stays as it is */
			sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, fd, NULL);
	}
}

/* The item of the old socket becomes one of the new, which is the kernel's alone. */
static void item_replace(struct item *old, struct sock *fresh)
{
	struct set *set = item_set(old);
	struct epoll_event event = item_exact_registration(old);
	struct item *item = old->deleted ? NULL : item_new(set, fresh, old->fd);
	int fd = old->fd;

	if (item) {
		item->events = old->events;
		item->data = old->data;
		item->disabled = old->disabled;
		item->disarmed = old->disarmed;
		item->absent = old->absent;
		item->edge = old->edge;
		item->held_bytes = old->held_bytes;
		item->held_events = old->held_events;
		set->one_shots += !!(item->events & EPOLLONESHOT);
	}
	if (!old->deleted && !old->absent && !set->forked)
		sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &event);
	item_free(old);
}

static void replaced(struct sock *sock, struct sock *fresh, int fd)
{
	uint32_t next;

	for (uint32_t at = sock->first_item; at; at = next) {
		next = items[at - 1].next_of_sock;
		if (items[at - 1].fd == fd)
			item_replace(&items[at - 1], fresh);
	}
}

const struct sock_hooks set_hooks = {.engine_begins = engine_begins,
                                     .ends = sock_ends,
                                     .descriptor_closes = descriptor_closes,
                                     .kernel_gets = kernel_gets,
                                     .kernel_has = kernel_has,
                                     .sets_hold = sets_hold,
                                     .sets_release = sets_release,
                                     .replace_begins = replace_begins,
                                     .replaced = replaced};

/* -- what the program does --------------------------------------------------------------------------------------------- */

void epoll_edge(struct sock *sock, uint32_t events)
{
	if (!load_relaxed(&sock->first_item))
		return;
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock) {
		struct set *set = item_set(&items[at - 1]);

		if (!(items[at - 1].events & EPOLLET) || !(items[at - 1].events & events) || !item_events(&items[at - 1]))
			continue;
		set_ready_add(set, &items[at - 1]);
		set_wake(set);
	}
	spinlock_release(&sets_lock);
}

/* Who sleeps on a bell of ours looks at the ring again. */
static void wake_own_sleepers(struct sock *sock)
{
	struct pair *pair = sock->end.pair;
	uint32_t sleepers = exchange(&sock->end.rx->sleep_mask, 0);

	for (uint32_t bell = 0; bell < pair->bells_count; bell++)
		if (sleepers & 1u << bell)
			pair_ring_own(pair, (int)bell);
}

void epoll_look_again(struct sock *sock)
{
	spinlock_acquire(&sets_lock);
	exchange(&sock->behind, 0);
	wake_own_sleepers(sock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock) {
		struct set *set = item_set(&items[at - 1]);

		if (items[at - 1].events & EPOLLET || !item_events(&items[at - 1])) /* the kernel's bytes were the edge */
			continue;
		set_ready_add(set, &items[at - 1]);
		set_wake(set);
	}
	spinlock_release(&sets_lock);
}
