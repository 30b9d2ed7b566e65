/* What the kernel's set is told of an item.
 *
 * Decides which items are tagged: registered with data of ours and with at least what the program wants to read, so that
 * what the program changes need not be told (epoll.h). Sending goes by the ring as a rule, so the kernel is told of
 * EPOLLOUT only where it does not. All others are registered with the program's data. Callers: the other files of sets,
 * under sets_lock. */
#define _GNU_SOURCE
#include "wait/set.h"

#define KEPT_EVENTS (EPOLLIN | EPOLLRDHUP) /* registered with the kernel whether or not the program wants them now */

struct epoll_event set_registration_of(const struct epoll_event *event)
{
	struct epoll_event registration = *event;

	if (event->events & EPOLLIN && !(event->events & EPOLLEXCLUSIVE))
		registration.events |= EPOLLRDHUP;
	return registration;
}

struct epoll_event item_exact_registration(const struct item *item)
{
	return (struct epoll_event){.events = item->disabled ? EPOLLONESHOT : item->events, .data.u64 = item->data};
}

/* -- tagged ------------------------------------------------------------------------------------------------------------ */

int item_can_be_tagged(const struct set *set, const struct item *item)
{
	return !(item->events & MODES) && !set->forked && !set->shared && !set->polled && !item->fd_closed &&
	       sock_is_engine(item_sock(item));
}

static long tell_kernel(struct set *set, struct item *item, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = ITEM_DATA | (uint64_t)(item - items)};

	item->registered = events;
	return sys_epoll_ctl(set->fd, EPOLL_CTL_MOD, item->fd, &event);
}

/* Whether the kernel must know of EPOLLOUT: not while what we send goes by the ring. */
static uint32_t kernel_wants(const struct item *item)
{
	if (item->deleted)
		return 0;
	return local_sends_by_ring(&item_sock(item)->end) ? item->events & ~(uint32_t)EPOLLOUT : item->events;
}

void item_tag(struct set *set, struct item *item)
{
	item->tagged = !tell_kernel(set, item, item->events | KEPT_EVENTS);
}

/* The kernel knows less than the program wants. */
void item_tell_what_is_missing(struct set *set, struct item *item)
{
	if (item->tagged && kernel_wants(item) & ~item->registered)
		tell_kernel(set, item, kernel_wants(item) | item->registered);
}

/* The kernel goes on about something that the program does not want now. */
void item_quiet_kernel(struct set *set, struct item *item)
{
	if (item->deleted) {
		sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, item->fd, NULL);
		item_free(item);
	} else {
		tell_kernel(set, item, kernel_wants(item));
	}
}

/* -- exact ------------------------------------------------------------------------------------------------------------- */

/* The kernel's set keeps what it has: it must have what the program registered. */
void item_untag(struct item *item)
{
	struct epoll_event event = {.events = item->events, .data.u64 = item->data};

	if (item->tagged && !item->fd_closed)
		sys_epoll_ctl(item_set(item)->fd, item->deleted ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, item->fd, &event);
}

/* From now on the kernel has the item as the program registered it. */
void item_tag_ends(struct item *item)
{
	item_untag(item);
	item->tagged = 0;
	if (item->deleted)
		item_free(item);
}

/* A one-shot that has fired is nothing in Linux. The kernel is told again when the program arms it. */
void item_withhold(struct set *set, struct item *item)
{
	item->absent = !sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, item->fd, NULL);
}

/* Who polls the set sees the kernel's view of it: that must be of what the program registered. Of a set that our parent made,
 * the parent knows more, and relies on its tags. */
void set_untag_all(struct set *set)
{
	if (set->forked)
		return;
	for (uint32_t i = 0; i < ITEMS_MAX; i++) {
		struct item *item = &items[i];

		if (item->set != set_number(set))
			continue;
		if (item->disarmed && !item->absent && !item->fd_closed)
			item_withhold(set, item);
		if (!item->tagged)
			continue;
		item_tag_ends(item);
		if (item->set && item_events(item))
			set_ready_add(set, item);
	}
}
