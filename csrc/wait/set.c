/* The tables of sets and items.
 *
 * Decides which set a descriptor of the program is, and which items a set and a socket have. A set is taken by
 * compare-and-swap and lives as long as this process has a descriptor of it; everything else under sets_lock. Callers: the
 * other files of sets (set.h); interpose/ for what epoll.h declares. */
#define _GNU_SOURCE
#include "wait/set.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"

struct set *sets;
struct item *items;
struct spinlock sets_lock;
uint32_t sets_polled;

/* -- items (sets_lock) ------------------------------------------------------------------------------------------------- */

struct item *item_find(const struct set *set, const struct sock *sock, int fd)
{
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		if (items[at - 1].set == set_number(set) && items[at - 1].fd == fd)
			return &items[at - 1];
	return NULL;
}

int set_watches(const struct set *set, const struct sock *sock, const struct item *except)
{
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		if (items[at - 1].set == set_number(set) && &items[at - 1] != except)
			return 1;
	return 0;
}

struct item *item_new(struct set *set, struct sock *sock, int fd)
{
	static uint32_t hint;

	for (uint32_t tries = 0; tries < ITEMS_MAX; tries++) {
		struct item *item = &items[hint++ % ITEMS_MAX];

		if (item->set)
			continue;
		memset(item, 0, sizeof(*item));
		item->set = set_number(set);
		item->sock = sock_index(sock);
		item->fd = fd;
		item->next_of_sock = sock->first_item;
		sock->first_item = item_number(item);
		return item;
	}
	return NULL;
}

void item_free(struct item *item)
{
	struct set *set = item_set(item);
	struct sock *sock = item_sock(item);
	uint32_t *link = &sock->first_item;

	set_ready_remove(set, item);
	if (item->events & EPOLLONESHOT)
		set->one_shots--;
	if (sock_is_engine(sock) && !set_watches(set, sock, item))
		set_watch_end(set, sock);
	while (*link && &items[*link - 1] != item)
		link = &items[*link - 1].next_of_sock;
	if (*link)
		*link = item->next_of_sock;
	item->set = 0;
}

void item_arm(struct set *set, struct item *item, const struct epoll_event *event)
{
	set->one_shots += !!(event->events & EPOLLONESHOT) - !!(item->events & EPOLLONESHOT);
	item->events = event->events;
	item->data = event->data.u64;
	item->looked_at = item_published(item);
	item->disabled = item->disarmed = 0;
	item->deleted = item->reset = 0;
	if (!item->tagged && item_can_be_tagged(set, item))
		item_tag(set, item);
	item_tell_what_is_missing(set, item);
	if (sock_is_engine(item_sock(item)))
		local_check_end(&item_sock(item)->end, item_fd(item));
	if (item_events(item))
		set_ready_add(set, item);
	if (item->in_ready)
		set_wake(set);
}

/* -- sets -------------------------------------------------------------------------------------------------------------- */

int epoll_start(void)
{
	sets = memory_private(SETS_MAX * sizeof(*sets));
	items = memory_private(ITEMS_MAX * sizeof(*items));
	sock_hooks = set_hooks;
	return sets && items ? 0 : -ENOMEM;
}

void epoll_stop(void)
{
	sets = memory_release(sets, SETS_MAX * sizeof(*sets));
	items = memory_release(items, ITEMS_MAX * sizeof(*items));
}

void epoll_set_new(int fd)
{
	for (uint32_t i = 0; sets && items && i < SETS_MAX; i++) {
		uint32_t free = 0;

		if (!compare_swap(&sets[i].state, &free, 1))
			continue;
		memset((char *)&sets[i] + sizeof(sets[i].state), 0,
		       __builtin_offsetof(struct set, pairs) - sizeof(sets[i].state));
		sets[i].fd = fd;
		sets[i].descriptors = 1;
		descriptor_set(fd, DESCRIPTOR_SET, i);
		return;
	}
}

void epoll_set_add_descriptor(uint32_t index, int fd)
{
	fetch_add(&sets[index].descriptors, 1);
	descriptor_set(fd, DESCRIPTOR_SET, index);
}

void epoll_set_close(uint32_t index)
{
	struct set *set = &sets[index];

	if (__atomic_sub_fetch(&set->descriptors, 1, __ATOMIC_SEQ_CST))
		return;
	spinlock_acquire(&sets_lock);
	for (uint32_t i = 0; i < ITEMS_MAX; i++)
		if (items[i].set == index + 1)
			item_free(&items[i]);
	set_own_bell_close(set);
	spinlock_release(&sets_lock);
	if (set->polled)
		__atomic_sub_fetch(&sets_polled, 1, __ATOMIC_RELAXED);
	store_release(&set->state, 0);
}
