/* What the events of the kernel's set mean.
 *
 * Decides what the program sees of them: bells and pidfds are ours, what is tagged gets the program's data and is filtered,
 * a one-shot is spent, an end may be a reset, and what a ring told already is not told twice. Caller: epoll.c, without
 * sets_lock, which is taken for each event that needs it. */
#define _GNU_SOURCE
#include "wait/set.h"

#include "base/clock.h"

/* The item behind an event of the kernel, or NULL: then it is not one of ours, or not worth the search. */
static struct item *item_of_event(struct set *set, const struct epoll_event *event, int search)
{
	uint32_t number = set_number(set);

	if ((event->data.u64 & ITEM_DATA_MASK) == ITEM_DATA) {
		struct item *item = &items[event->data.u64 & ~ITEM_DATA_MASK & (ITEMS_MAX - 1)];

		return item->set == number && item->tagged ? item : NULL;
	}
	for (uint32_t i = 0; search && i < ITEMS_MAX; i++)
		if (items[i].set == number && !items[i].tagged && items[i].data == event->data.u64)
			return &items[i];
	return NULL;
}

static int is_tagged(const struct epoll_event *event)
{
	return (event->data.u64 & ITEM_DATA_MASK) == ITEM_DATA;
}

/* What the program sees of a kernel event: its own data, what it wants, one-shots spent, an end that was a reset.
 * 0: nothing. sets_lock. */
static int translate(struct set *set, struct epoll_event *event, int gone)
{
	int ended = gone || event->events & EPOLLRDHUP;
	struct item *item = item_of_event(set, event, ended || set->one_shots);
	int tagged = is_tagged(event);

	if (!item)
		return !tagged;
	if (item->disabled) /* the kernel's one-shot shows error and end even when nothing else is wanted */
		return 0;
	if (item->reset) {
		item->reset = 0;
		return 0;
	}
	event->data.u64 = item->data;
	event->events &= item->deleted ? 0 : item->events | ALWAYS_EVENTS;
	if (ended && !item->deleted && sock_is_engine(item_sock(item))) {
		if (local_believe_end(&item_sock(item)->end, item_fd(item))) {
			event->events |= item_kernel_events(item_fd(item), item->events & 0x7fff) & (item->events | ALWAYS_EVENTS);
			item->reset = item->events & EPOLLET && load_relaxed(&item_sock(item)->shared->pending_error);
		}
		event->events |= item_events(item);
	}
	if (item->events & EPOLLONESHOT) {
		item->disabled = 1;
		set_ready_remove(set, item);
	}
	if (!event->events && tagged)
		item_quiet_kernel(set, item);
	return event->events != 0;
}

static int note_kernel_event(struct set *set, struct epoll_event *event, int gone)
{
	int shown;

	if (!is_tagged(event) && !set->one_shots && !gone && !(event->events & EPOLLRDHUP))
		return 1;
	spinlock_acquire(&sets_lock);
	shown = translate(set, event, gone);
	spinlock_release(&sets_lock);
	return shown;
}

/* An event that is told already becomes part of that. The new count. */
static int add_event(struct epoll_event *events, int have, int total, struct epoll_event event)
{
	for (int twin = 0; twin < have; twin++)
		if (events[twin].data.u64 == event.data.u64) {
			events[twin].events |= event.events;
			return total;
		}
	events[total] = event;
	return total + 1;
}

static int some_peer_is_gone(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		if (!pair_peer_lives(set->pairs[i].pair))
			return 1;
	return 0;
}

/* Adds the kernel's `got` events at events[have …] to the `have` ones of the rings: bells go, doubles are merged. */
static int merge(struct set *set, struct epoll_event *events, int have, int got)
{
	int gone = got && set->pairs_count && some_peer_is_gone(set);
	int total = have;

	for (int i = 0; i < got; i++) {
		struct epoll_event event = events[have + i];

		if (event.data.u64 == DEATH_DATA) {
			spinlock_acquire(&sets_lock);
			set_bury(set);
			spinlock_release(&sets_lock);
		}
		if (event.data.u64 == BELL_DATA || event.data.u64 == DEATH_DATA || !note_kernel_event(set, &event, gone))
			continue;
		total = add_event(events, have, total, event);
	}
	return total;
}

/* -- the whole answer -------------------------------------------------------------------------------------------------- */

/* What a death has left in the rings' list, behind the `total` events that there are. */
static int add_left(struct set *set, struct epoll_event *events, int total, int count)
{
	int have = total, left = set_rings_give(set, events + total, count - total);

	for (int i = 0; i < left; i++)
		total = add_event(events, have, total, events[have + i]);
	return total;
}

static int has_data(const struct epoll_event *events, long count, uint64_t data)
{
	for (long i = 0; i < count; i++)
		if (events[i].data.u64 == data)
			return 1;
	return 0;
}

/* What the kernel gave behind `have` events of the rings. A death leaves more: resets in the rings' list, and edges of the
 * kernel for them, which are the same (item.reset). */
int set_take_in(struct set *set, int fd, struct epoll_event *events, int have, int got, int count)
{
	int died = has_data(events + have, got, DEATH_DATA);
	int total = merge(set, events, have, got);

	if (unlikely(died) && total < count)
		total = add_left(set, events, total, count);
	if (unlikely(died) && total < count) {
		got = (int)sys_epoll_wait(fd, events + total, count - total, 0);
		total = merge(set, events, total, got < 0 ? 0 : got);
	}
	return total;
}

/* A look has taken the bell, on which somebody else sleeps: what the rings have is his. Who rang has cleared the bit for
 * all; first the bit, then the look. Who polls the set is not told again: a bell must not outlive the bytes there. */
static void give_bell_back(struct set *set)
{
	spinlock_acquire(&sets_lock);
	if (set->sleepers) {
		set_ask_for_bells(set);
		if (set_rings_have_posted(set))
			set_wake(set);
	}
	spinlock_release(&sets_lock);
}

long set_kernel_gives(struct set *set, int fd, struct epoll_event *events, int have, int count)
{
	long got = sys_epoll_wait(fd, events + have, count - have, 0);

	store_relaxed(&set->kernel_asked, cpu_ticks());
	if (got < 0)
		return have ? have : got;
	if (unlikely(has_data(events + have, got, BELL_DATA)))
		give_bell_back(set);
	return set_take_in(set, fd, events, have, (int)got, count);
}
