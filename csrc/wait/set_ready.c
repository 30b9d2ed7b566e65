/* What rings make ready: ready bitmaps to ready list to the program's events.
 *
 * Decides what an item shows. The list has items of which a ring has posted, or which were ready when last looked at; it is
 * changed under sets_lock. Whether an item has anything is looked up when it is reported, not when it was posted. An
 * epoll_wait that finds ring events runs through this file: what it needs often is kept together here. Callers: the other
 * files of sets, under sets_lock or as set.h says; poll.c and block.c for what epoll.h declares, without. */
#define _GNU_SOURCE
#include "wait/set.h"

#include "local/offset.h"
#include "sock/option.h"

/* -- ready list (sets_lock) -------------------------------------------------------------------------------------------- */

void set_ready_add(struct set *set, struct item *item)
{
	uint32_t number = item_number(item);

	if (item->in_ready || item->disabled)
		return;
	item->in_ready = 1;
	item->next_ready = 0;
	if (set->ready_last)
		items[set->ready_last - 1].next_ready = number;
	else
		store_release(&set->ready_first, number);
	set->ready_last = number;
}

static struct item *ready_pop(struct set *set)
{
	struct item *item;

	if (!set->ready_first)
		return NULL;
	item = &items[set->ready_first - 1];
	store_release(&set->ready_first, item->next_ready);
	if (!item->next_ready)
		set->ready_last = 0;
	item->in_ready = 0;
	item->next_ready = 0;
	return item;
}

void set_ready_remove(struct set *set, struct item *gone)
{
	uint32_t count = 0;
	struct item *item;

	if (!gone->in_ready)
		return;
	for (uint32_t at = set->ready_first; at; at = items[at - 1].next_ready)
		count++;
	while (count-- && (item = ready_pop(set)))
		if (item != gone)
			set_ready_add(set, item);
}

/* -- what an item shows ------------------------------------------------------------------------------------------------ */

/* Of the ring all counts, also what lies behind kernel bytes under way: the kernel does not tell of fewer bytes than the mark. */
int epoll_has_low_water(struct sock *sock, int fd)
{
	long waiting = offset_waiting(fd);

	return (long)local_ring_unread(&sock->end) + (waiting > 0 ? waiting : 0) >= option_receive_low_water(sock, fd);
}

static int ring_has_enough(struct sock *sock, int fd)
{
	if (unlikely(load_relaxed(&sock->shared->flags) & SOCK_LOWAT))
		return local_ring_unread(&sock->end) && epoll_has_low_water(sock, fd);
	return local_ring_readable(&sock->end, fd) != 0;
}

/* Where the ring is not ready although it has bytes, the kernel speaks for the socket until a receive has taken its bytes: that
 * receive tells of the ring's. The mark, then the look; there the bytes, then the mark. */
int epoll_ring_is_ready(struct sock *sock, int fd)
{
	if (ring_has_enough(sock, fd))
		return 1;
	if (likely(!local_ring_unread(&sock->end)))
		return 0;
	exchange(&sock->behind, 1);
	return ring_has_enough(sock, fd);
}

uint64_t item_published(const struct item *item)
{
	return sock_is_engine(item_sock(item)) ? load_acquire(&item_sock(item)->end.rx->tail) & SHM_OFFSET_MASK : 0;
}

int item_fd(const struct item *item)
{
	return likely(!item->fd_closed) ? item->fd : sock_any_descriptor(item_sock(item));
}

/* An end that the peer has marked is in the kernel already, and so are its death and our own shutdown. */
static int kernel_has_end(const struct sock *sock)
{
	return load_relaxed(&sock->end.rx->closed) || load_relaxed(&sock->end.rx->half_closed) ||
	       load_relaxed(&sock->shared->flags) & (SOCK_RX_KERNEL | SOCK_GONE);
}

uint32_t item_events(const struct item *item)
{
	struct sock *sock = item_sock(item);
	uint32_t ready = 0;

	if (!sock_is_engine(sock) || item->deleted)
		return 0;
	if (item->tagged && item->events & EPOLLOUT && local_sends_by_ring(&sock->end))
		ready |= EPOLLOUT; /* what does not fit into the ring overflows to a kernel that is empty */
	if (load_relaxed(&sock->shared->pending_error))
		ready |= EPOLLERR | READ_EVENTS | EPOLLOUT;
	if (epoll_ring_is_ready(sock, item_fd(item)))
		ready |= READ_EVENTS;
	if (!(ready & (item->events | ALWAYS_EVENTS)))
		return 0;
	/* An event tells of all that is ready, as Linux does; a tagged item's EPOLLOUT comes of itself. */
	if (!item->tagged && item->events & EPOLLOUT &&
	    (local_sends_by_ring(&sock->end) || item_kernel_events(item_fd(item), EPOLLOUT)))
		ready |= EPOLLOUT;
	if (kernel_has_end(sock))
		ready |= item_kernel_events(item_fd(item), item->events & 0x7fff);
	return ready & (item->events | ALWAYS_EVENTS);
}

/* What an item shows that the ready list has: an edge by the ring shows all that is ready, also where its bytes are gone. */
uint32_t item_edge_events(const struct item *item)
{
	uint32_t ready = item_events(item);

	if (!(item->events & EPOLLET) || !(item->events & READ_EVENTS) || !sock_is_engine(item_sock(item)))
		return ready;
	if (!ready && local_ring_unread(&item_sock(item)->end)) /* nothing has come that could be read */
		return 0;
	if (!ready && kernel_has_end(item_sock(item)))
		ready = item_kernel_events(item_fd(item), item->events & 0x7fff) & (item->events | ALWAYS_EVENTS);
	if (ready & EPOLLOUT || !(item->events & EPOLLOUT))
		return ready;
	if (local_sends_by_ring(&item_sock(item)->end) || item_kernel_events(item_fd(item), EPOLLOUT) & EPOLLOUT)
		ready |= EPOLLOUT;
	return ready;
}

/* -- collecting (sets_lock) -------------------------------------------------------------------------------------------- */

static uint64_t *ready_word(struct set_pair *watched, uint32_t word)
{
	return &pair_own(watched->pair)->ready[watched->bell * SHM_READY_WORDS + word];
}

static uint32_t *ready_groups(struct set_pair *watched)
{
	return &pair_own(watched->pair)->ready_groups[watched->bell];
}

int set_rings_have_posted(struct set *set)
{
	if (load_acquire(&set->ready_first))
		return 1;
	for (uint32_t i = 0; i < load_acquire(&set->pairs_count); i++)
		if (load_relaxed(ready_word(&set->pairs[i], 0)) || load_relaxed(ready_groups(&set->pairs[i])))
			return 1;
	return 0;
}

/* A death that was a reset, which is told once; of an end the kernel has told. */
static int death_tells_more(struct item *item)
{
	struct sock *sock = item_sock(item);

	if (!local_check_end(&sock->end, item_fd(item)) || !load_relaxed(&sock->shared->pending_error))
		return 0;
	item->reset = !!(item->events & EPOLLET);
	return 1;
}

/* `dead`: the peer's process is. */
static void collect_socket(struct set *set, struct pair *pair, uint32_t channel, int dead)
{
	uint32_t number = channel < SHM_CHANNELS_MAX ? pair->sockets[channel] : 0;

	if (!number)
		return;
	for (uint32_t at = socks[number - 1].first_item; at; at = items[at - 1].next_of_sock)
		if (items[at - 1].set == set_number(set)) {
			local_service(&socks[number - 1].end, item_fd(&items[at - 1]));
			items[at - 1].looked_at = item_published(&items[at - 1]);
			if (!dead || death_tells_more(&items[at - 1]))
				set_ready_add(set, &items[at - 1]);
		}
}

/* One after the other, each socket's lines would be waited for in turn. */
static void fetch_ahead(const struct pair *pair, uint32_t first, uint64_t bits)
{
	for (; bits; bits &= bits - 1) {
		uint32_t channel = first + (uint32_t)__builtin_ctzll(bits);
		uint32_t number = channel < SHM_CHANNELS_MAX ? pair->sockets[channel] : 0;

		if (number)
			local_fetch_ahead(&socks[number - 1].end);
	}
}

static void collect_word(struct set *set, struct pair *pair, uint32_t first, uint64_t bits)
{
	fetch_ahead(pair, first, bits);
	for (; bits; bits &= bits - 1)
		collect_socket(set, pair, first + (uint32_t)__builtin_ctzll(bits), 0);
}

static void collect_words(struct set *set, struct set_pair *watched, uint32_t from, uint32_t to)
{
	for (uint32_t w = from; w < to; w++) {
		uint64_t *word = ready_word(watched, w);

		if (load_relaxed(word))
			collect_word(set, watched->pair, w * 64, exchange(word, 0));
	}
}

/* First the bits of groups, then their words: a sender that comes between finds its group's bit gone, and sets it again. */
static void collect_pair(struct set *set, struct set_pair *watched)
{
	uint32_t groups = load_relaxed(ready_groups(watched)) ? exchange(ready_groups(watched), 0) : 0;

	collect_words(set, watched, 0, 1);
	for (; groups; groups &= groups - 1) {
		uint32_t first = (uint32_t)__builtin_ctz(groups) * SHM_READY_GROUP;

		collect_words(set, watched, first ? first : 1, first + SHM_READY_GROUP);
	}
}

void set_collect(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		collect_pair(set, &set->pairs[i]);
}

/* A peer has died: whose bytes it has left unread is reset, and the kernel may have told of the end long ago. */
void set_bury(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++) {
		struct pair *pair = set->pairs[i].pair;

		store_relaxed(&pair->asked_ticks, 0);
		if (pair_peer_lives(pair))
			continue;
		for (uint32_t channel = 0; channel < pair_region_first_channel(pair->regions_count); channel++)
			collect_socket(set, pair, channel, 1);
		set->pairs[i].buried = 1; /* who polls the set would see it for ever */
		sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, pair->peer_fd, NULL);
	}
}

/* -- reporting --------------------------------------------------------------------------------------------------------- */

/* A one-shot that has fired by its ring. EPOLL_CTL_MOD leaves the kernel showing errors and ends of it, once, which we
 * filter, but who polls the set would see. */
static void disarm(struct set *set, struct item *item)
{
	struct epoll_event none = {.events = EPOLLONESHOT, .data.u64 = item->data};

	item->disabled = item->disarmed = 1;
	if (item->fd_closed)
		return;
	if (set->polled)
		item_withhold(set, item);
	else
		sys_epoll_ctl(set->fd, EPOLL_CTL_MOD, item->fd, &none);
}

/* Moves ready items into `events`. Level-triggered ones stay in the list and are looked at again next time. */
static int report(struct set *set, struct epoll_event *events, int count)
{
	uint32_t stop = set->ready_last; /* items added again are behind it */
	int reported = 0;
	struct item *item;

	while (reported < count && (item = ready_pop(set))) {
		uint32_t ready;
		int last = item_number(item) == stop;

		item_tell_what_is_missing(set, item);
		if (item->events & EPOLLONESHOT && sock_is_engine(item_sock(item))) /* told once: with the peer's death */
			local_check_end(&item_sock(item)->end, item_fd(item));
		ready = item_edge_events(item);
		if (ready) {
			events[reported].events = ready;
			events[reported++].data.u64 = item->data;
			if (item->events & EPOLLONESHOT)
				disarm(set, item);
			else if (!(item->events & EPOLLET))
				set_ready_add(set, item);
		}
		if (last)
			break;
	}
	return reported;
}

int set_rings_give(struct set *set, struct epoll_event *events, int count)
{
	int reported;

	/* Somebody polls the set: the next bytes must ring the bell again. Set the bits, then look. */
	if (unlikely(set->polled))
		set_ask_for_bells(set);
	if (!set_rings_have_posted(set))
		return 0;
	spinlock_acquire(&sets_lock);
	set_collect(set);
	reported = report(set, events, count);
	if (set->ready_first && (set->sleepers || set->polled))
		set_wake(set);
	spinlock_release(&sets_lock);
	return reported;
}
