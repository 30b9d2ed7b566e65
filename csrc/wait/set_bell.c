/* Bells of sets: how a ring wakes who waits for a set.
 *
 * Decides when a set has a bell in a pair: as long as it watches a socket of the pair. The bell is a member of the kernel's
 * set, and so is the peer's pidfd. And it decides when the bells speak for the rings to who polls the set itself. Callers:
 * the other files of sets, under sets_lock; interpose/, poll.c and epoll_control.c call epoll_set_is_polled without. */
#define _GNU_SOURCE
#include "wait/set.h"

struct set_pair *set_pair_find(struct set *set, const struct pair *pair)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		if (set->pairs[i].pair == pair)
			return &set->pairs[i];
	return NULL;
}

static uint64_t bell_owner(const struct set *set)
{
	return PAIR_BELL_SET | (uint64_t)(set - sets);
}

/* The set begins to watch a pair: a bell, and the bell in the kernel's set. */
static struct set_pair *set_pair_new(struct set *set, struct pair *pair)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = BELL_DATA};
	struct set_pair *found;
	int bell;

	if (set->forked || set->pairs_count == SET_PAIRS_MAX)
		return NULL;
	bell = pair_bell_lease(pair, bell_owner(set));
	if (bell < 0)
		return NULL;
	if (sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, pair->bells[bell], &event)) {
		pair_bell_return(pair, bell, bell_owner(set));
		return NULL;
	}
	event.data.u64 = DEATH_DATA;
	sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, pair->peer_fd, &event);
	found = &set->pairs[set->pairs_count];
	*found = (struct set_pair){.pair = pair, .bell = (uint32_t)bell};
	pair_reference(pair);
	store_release(&set->pairs_count, set->pairs_count + 1);
	if (set->sleepers || set->polled)
		fetch_or(&pair_own(pair)->set_sleep_mask, 1u << bell);
	return found;
}

static void set_pair_drop(struct set *set, struct set_pair *gone)
{
	if (!set->forked) {
		sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, gone->pair->bells[gone->bell], NULL);
		sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, gone->pair->peer_fd, NULL);
	}
	fetch_and(&pair_own(gone->pair)->set_sleep_mask, ~(1u << gone->bell));
	pair_bell_return(gone->pair, (int)gone->bell, bell_owner(set));
	pair_release(gone->pair);
	*gone = set->pairs[set->pairs_count - 1];
	store_release(&set->pairs_count, set->pairs_count - 1);
}

int set_watch_begin(struct set *set, struct sock *sock)
{
	struct set_pair *found = set_pair_find(set, sock->end.pair);

	if (!found)
		found = set_pair_new(set, sock->end.pair);
	if (!found)
		return reason_epoll_full;
	found->members++;
	fetch_or(&sock->end.rx->watch_mask, 1u << found->bell);
	return 0;
}

void set_watch_end(struct set *set, struct sock *sock)
{
	struct set_pair *found = sock->end.pair ? set_pair_find(set, sock->end.pair) : NULL;

	if (!found || !(load_relaxed(&sock->end.rx->watch_mask) & 1u << found->bell))
		return;
	fetch_and(&sock->end.rx->watch_mask, ~(1u << found->bell));
	if (!--found->members)
		set_pair_drop(set, found);
}

/* Who posts for a ring of the set rings its bell, and clears the bit. */
void set_ask_for_bells(struct set *set)
{
	for (uint32_t i = 0; i < load_acquire(&set->pairs_count); i++)
		fetch_or(&pair_own(set->pairs[i].pair)->set_sleep_mask, 1u << set->pairs[i].bell);
}

/* Of a set that watches no pair: there were no bells left, and what lay in the ring before that is ready all the same. */
static void ring_own_bell(struct set *set)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = BELL_DATA};
	int fd;

	if (!set->own_bell && !set->forked) {
		fd = bell_make();
		set->own_bell = fd < 0 ? 0 : fd + 1;
		if (set->own_bell && sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &event))
			set_own_bell_close(set);
	}
	if (set->own_bell)
		bell_ring(set->own_bell - 1);
}

void set_own_bell_close(struct set *set)
{
	if (set->own_bell)
		descriptor_own_close(set->own_bell - 1);
	set->own_bell = 0;
}

void set_wake(struct set *set)
{
	if (!set->sleepers && !set->polled)
		return;
	if (likely(set->pairs_count))
		pair_ring_own(set->pairs[0].pair, (int)set->pairs[0].bell);
	else
		ring_own_bell(set);
}

/* -- polled sets ------------------------------------------------------------------------------------------------------- */

static int has_events(const struct set *set)
{
	for (uint32_t at = set->ready_first; at; at = items[at - 1].next_ready)
		if (item_edge_events(&items[at - 1]))
			return 1;
	return 0;
}

static int some_peer_is_unburied(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		if (!set->pairs[i].buried && !pair_peer_lives(set->pairs[i].pair))
			return 1;
	return 0;
}

/* The bells of a polled set speak for its rings: also when a receive has emptied them. First the bits, then the look; who
 * sleeps on the set finds the bell again. */
static void tell_by_bell(struct set *set)
{
	set_ask_for_bells(set);
	set_collect(set);
	if (some_peer_is_unburied(set))
		set_bury(set);
	if (!has_events(set)) {
		for (uint32_t i = 0; i < set->pairs_count; i++)
			pair_bell_empty(set->pairs[i].pair, (int)set->pairs[i].bell);
		if (set->own_bell)
			bell_empty(set->own_bell - 1);
		set_ask_for_bells(set); /* who rang just now has cleared the bit, and the bell is empty again */
		set_collect(set);
	}
	if (has_events(set))
		set_wake(set);
}

void epoll_set_is_polled(int set_fd)
{
	struct set *set = set_of(set_fd);

	if (!set)
		return;
	spinlock_acquire(&sets_lock);
	if (!set->polled) {
		set_untag_all(set);
		fetch_add(&sets_polled, 1);
	}
	set->polled = 1;
	tell_by_bell(set);
	spinlock_release(&sets_lock);
}

void set_tell_polled(const struct set *except)
{
	spinlock_acquire(&sets_lock);
	for (uint32_t i = 0; i < SETS_MAX; i++)
		if (sets[i].state && sets[i].polled && &sets[i] != except)
			tell_by_bell(&sets[i]);
	spinlock_release(&sets_lock);
}
