/* Items, ready lists, bells of sets, and the wait. See epoll.h for the idea. */
#define _GNU_SOURCE
#include "wait/epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/memory.h"
#include "base/spinlock.h"
#include "base/sys.h"
#include "local/offset.h"
#include "sock/option.h"
#include "wait/edge.h"
#include "wait/sleep.h"
#include "wait/signal.h"
#include "wait/spin.h"

#define SETS_MAX 1024
#define ITEMS_MAX 65536
#define SET_PAIRS_MAX 64
#define KERNEL_TURN_US 20     /* rings that fill the program's array leave the kernel out for so long at most */
#define SPIN_KERNEL_ASK_US 5  /* while spinning */
#define BELL_DATA 0xb37a9e1150ca4d27 /* marks the bells among the kernel's events */
#define DEATH_DATA 0x8f1c6a20d3b7e945 /* marks the pidfds of peers */
#define ITEM_DATA 0x5d0cb7e213000000 /* marks items whose registration is ours; the item's index is in the low bits */
#define ITEM_DATA_MASK 0xffffffffff000000
#define KEPT_EVENTS (EPOLLIN | EPOLLRDHUP) /* registered with the kernel whether or not the program wants them now */
#define MODES (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE)
#define EXCLUSIVE_MAY (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define READ_EVENTS (EPOLLIN | EPOLLRDNORM)
#define ALWAYS_EVENTS (EPOLLERR | EPOLLHUP)

struct set_pair {
	struct pair *pair;
	uint32_t bell;
	uint32_t members;
	uint32_t buried; /* the peer has died, and all is done that there was to do */
};

struct set {
	uint32_t state; /* 0 free, 1 in use */
	int fd;
	uint32_t descriptors;
	uint32_t pairs_count;
	uint32_t ready_first, ready_last; /* items, index + 1; 0: none */
	uint32_t sleepers;
	uint32_t polled; /* its bell must speak for its rings */
	uint32_t forked; /* made by the process that we were forked from */
	uint32_t shared; /* a child may have it in a program that knows no tags */
	uint32_t one_shots;
	uint64_t kernel_asked; /* ticks */
	struct set_pair pairs[SET_PAIRS_MAX];
};

struct item {
	uint32_t set;  /* index + 1; 0: free */
	uint32_t sock; /* index */
	int fd;
	uint32_t events;
	uint64_t data;
	uint32_t next_of_sock; /* index + 1 */
	uint32_t next_ready;   /* index + 1 */
	uint32_t registered;   /* with `tagged`: the events that the kernel was told */
	uint8_t in_ready;
	uint8_t disabled; /* EPOLLONESHOT has fired */
	uint8_t tagged;   /* registered with ITEM_DATA */
	uint8_t reset;    /* edge-triggered: the edge of an emulated reset is on its way, and has been reported */
	uint8_t deleted;  /* with `tagged`: EPOLL_CTL_DEL that the kernel was not told */
	uint8_t disarmed; /* with `disabled`: it was us who told the kernel */
	uint8_t
		absent; /* with `disabled`: the kernel does not have it, since it shows an end of a socket that wants nothing */
	uint8_t fd_closed; /* the socket lives on by another descriptor; the kernel cannot be told anything of the item */
	uint8_t edge; /* enum held_edge: between edge_hold and edge_settle */
	uint64_t looked_at; /* the ring's bytes that were published when a post was last taken over */
	uint32_t held_events; /* of the kernel, at edge_hold, but for bytes to read */
	int64_t held_bytes; /* unread then */
};

enum held_edge {
	EDGE_AS_IT_COMES = 0,
	EDGE_IS_SHOWN = 1, /* the program has been shown all that there is */
	EDGE_IS_DUE = 2
};

static void item_free(struct item *item);
static void collect(struct set *set);

/* What the kernel is told of an item that it knows as the program does: an end must be told apart from bytes. */
static struct epoll_event registration_of(const struct epoll_event *event)
{
	struct epoll_event registration = *event;

	if (event->events & EPOLLIN && !(event->events & EPOLLEXCLUSIVE))
		registration.events |= EPOLLRDHUP;
	return registration;
}

static struct set *sets; /* SETS_MAX */
static struct item *items; /* ITEMS_MAX */
static struct spinlock sets_lock;
static uint32_t polled_sets;

static struct set *set_of(int fd)
{
	uint32_t entry = descriptor_entry(fd);

	return descriptor_kind(entry) == DESCRIPTOR_SET ? &sets[descriptor_index(entry)] : NULL;
}

/* -- ready list (sets_lock) ----------------------------------------------------------------------------------------------- */

static void ready_add(struct set *set, struct item *item)
{
	uint32_t number = (uint32_t)(item - items) + 1;

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

static void ready_remove(struct set *set, struct item *gone)
{
	uint32_t count = 0;
	struct item *item;

	if (!gone->in_ready)
		return;
	for (uint32_t at = set->ready_first; at; at = items[at - 1].next_ready)
		count++;
	while (count-- && (item = ready_pop(set)))
		if (item != gone)
			ready_add(set, item);
}

/* -- what an item has -------------------------------------------------------------------------------------------------------- */

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

static uint64_t ring_published(const struct item *item)
{
	return sock_is_engine(&socks[item->sock]) ? load_acquire(&socks[item->sock].end.rx->tail) & SHM_OFFSET_MASK : 0;
}

/* What the kernel says of one descriptor; poll's and epoll's events have the same values. */
static uint32_t kernel_events(int fd, uint32_t wanted)
{
	struct pollfd asked = {.fd = fd, .events = (short)wanted};

	return sys_poll(&asked, 1, 0) == 1 ? (uint32_t)(uint16_t)asked.revents : 0;
}

/* A descriptor that the item's socket has. */
static int item_fd(const struct item *item)
{
	const struct sock *sock = &socks[item->sock];

	if (likely(!item->fd_closed))
		return item->fd;
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd) == sock)
			return fd;
	return -1;
}

/* An end that the peer has marked is in the kernel already, and so are its death and our own shutdown. */
static int kernel_has_end(const struct sock *sock)
{
	return load_relaxed(&sock->end.rx->closed) || load_relaxed(&sock->end.rx->half_closed) ||
	       load_relaxed(&sock->shared->flags) & (SOCK_RX_KERNEL | SOCK_GONE);
}

static uint32_t item_events(const struct item *item)
{
	struct sock *sock = &socks[item->sock];
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
	    (local_sends_by_ring(&sock->end) || kernel_events(item_fd(item), EPOLLOUT)))
		ready |= EPOLLOUT;
	if (kernel_has_end(sock))
		ready |= kernel_events(item_fd(item), item->events & 0x7fff);
	return ready & (item->events | ALWAYS_EVENTS);
}

/* What an item shows that the ready list has: an edge by the ring shows all that is ready, also where its bytes are gone. */
static uint32_t edge_events(const struct item *item)
{
	uint32_t ready = item_events(item);

	if (!(item->events & EPOLLET) || !(item->events & READ_EVENTS) || !sock_is_engine(&socks[item->sock]))
		return ready;
	if (!ready && local_ring_unread(&socks[item->sock].end)) /* nothing has come that could be read */
		return 0;
	if (!ready && kernel_has_end(&socks[item->sock]))
		ready = kernel_events(item_fd(item), item->events & 0x7fff) & (item->events | ALWAYS_EVENTS);
	if (ready & EPOLLOUT || !(item->events & EPOLLOUT))
		return ready;
	if (local_sends_by_ring(&socks[item->sock].end) || kernel_events(item_fd(item), EPOLLOUT) & EPOLLOUT)
		ready |= EPOLLOUT;
	return ready;
}

/* -- bells of sets (sets_lock) -------------------------------------------------------------------------------------------------- */

static struct set_pair *set_pair_find(struct set *set, const struct pair *pair)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		if (set->pairs[i].pair == pair)
			return &set->pairs[i];
	return NULL;
}

/* The set begins to watch a pair: a bell, and the bell in the kernel's set. */
static struct set_pair *set_pair_new(struct set *set, struct pair *pair)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = BELL_DATA};
	uint32_t owner = PAIR_BELL_SET | (uint32_t)(set - sets);
	struct set_pair *found;
	int bell;

	if (set->forked || set->pairs_count == SET_PAIRS_MAX)
		return NULL;
	bell = pair_bell_lease(pair, owner);
	if (bell < 0)
		return NULL;
	if (sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, pair->bells[bell], &event)) {
		pair_bell_return(pair, bell);
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
	pair_bell_return(gone->pair, (int)gone->bell);
	pair_release(gone->pair);
	*gone = set->pairs[set->pairs_count - 1];
	store_release(&set->pairs_count, set->pairs_count - 1);
}

/* A socket of the engine is watched by a set. 0, or a reason why it cannot be. */
static int watch_begin(struct set *set, struct sock *sock)
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

static void watch_end(struct set *set, struct sock *sock)
{
	struct set_pair *found = sock->end.pair ? set_pair_find(set, sock->end.pair) : NULL;

	if (!found || !(load_relaxed(&sock->end.rx->watch_mask) & 1u << found->bell))
		return;
	fetch_and(&sock->end.rx->watch_mask, ~(1u << found->bell));
	if (!--found->members)
		set_pair_drop(set, found);
}

/* -- what the kernel is told (sets_lock) --------------------------------------------------------------------------------------- */

static int can_be_tagged(const struct set *set, const struct item *item)
{
	return !(item->events & MODES) && !set->forked && !set->shared && !set->polled && !item->fd_closed &&
	       sock_is_engine(&socks[item->sock]);
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
	return local_sends_by_ring(&socks[item->sock].end) ? item->events & ~(uint32_t)EPOLLOUT : item->events;
}

static void tag(struct set *set, struct item *item)
{
	item->tagged = !tell_kernel(set, item, item->events | KEPT_EVENTS);
}

/* The kernel knows less than the program wants. */
static void tell_what_is_missing(struct set *set, struct item *item)
{
	if (item->tagged && kernel_wants(item) & ~item->registered)
		tell_kernel(set, item, kernel_wants(item) | item->registered);
}

/* The kernel goes on about something that the program does not want now. */
static void quiet_kernel(struct set *set, struct item *item)
{
	if (item->deleted) {
		sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, item->fd, NULL);
		item_free(item);
	} else {
		tell_kernel(set, item, kernel_wants(item));
	}
}

/* -- items (sets_lock) ------------------------------------------------------------------------------------------------------------ */

static struct item *item_find(const struct set *set, const struct sock *sock, int fd)
{
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		if (items[at - 1].set == (uint32_t)(set - sets) + 1 && items[at - 1].fd == fd)
			return &items[at - 1];
	return NULL;
}

static int set_watches(const struct set *set, const struct sock *sock, const struct item *except)
{
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		if (items[at - 1].set == (uint32_t)(set - sets) + 1 && &items[at - 1] != except)
			return 1;
	return 0;
}

static struct item *item_new(struct set *set, struct sock *sock, int fd)
{
	static uint32_t hint;

	for (uint32_t tries = 0; tries < ITEMS_MAX; tries++) {
		struct item *item = &items[hint++ % ITEMS_MAX];

		if (item->set)
			continue;
		memset(item, 0, sizeof(*item));
		item->set = (uint32_t)(set - sets) + 1;
		item->sock = sock_index(sock);
		item->fd = fd;
		item->next_of_sock = sock->first_item;
		sock->first_item = (uint32_t)(item - items) + 1;
		return item;
	}
	return NULL;
}

static void item_free(struct item *item)
{
	struct set *set = &sets[item->set - 1];
	struct sock *sock = &socks[item->sock];
	uint32_t *link = &sock->first_item;

	ready_remove(set, item);
	if (item->events & EPOLLONESHOT)
		set->one_shots--;
	if (sock_is_engine(sock) && !set_watches(set, sock, item))
		watch_end(set, sock);
	while (*link && &items[*link - 1] != item)
		link = &items[*link - 1].next_of_sock;
	if (*link)
		*link = item->next_of_sock;
	item->set = 0;
}

static void item_arm(struct set *set, struct item *item, const struct epoll_event *event)
{
	set->one_shots += !!(event->events & EPOLLONESHOT) - !!(item->events & EPOLLONESHOT);
	item->events = event->events;
	item->data = event->data.u64;
	item->looked_at = ring_published(item);
	item->disabled = item->disarmed = 0;
	item->deleted = 0;
	if (!item->tagged && can_be_tagged(set, item))
		tag(set, item);
	tell_what_is_missing(set, item);
	if (sock_is_engine(&socks[item->sock]))
		local_check_end(&socks[item->sock].end, item_fd(item));
	if (item_events(item))
		ready_add(set, item);
}

/* Who posts for a ring of the set rings its bell, and clears the bit. */
static void ask_for_bells(struct set *set)
{
	for (uint32_t i = 0; i < load_acquire(&set->pairs_count); i++)
		fetch_or(&pair_own(set->pairs[i].pair)->set_sleep_mask, 1u << set->pairs[i].bell);
}

static void wake_set(struct set *set)
{
	if ((set->sleepers || set->polled) && set->pairs_count)
		pair_ring_own(set->pairs[0].pair, (int)set->pairs[0].bell);
}

static struct epoll_event exact_registration(const struct item *item)
{
	return (struct epoll_event){.events = item->disabled ? EPOLLONESHOT : item->events, .data.u64 = item->data};
}

/* The kernel's set keeps what it has: it must have what the program registered. */
static void untag(struct item *item)
{
	struct epoll_event event = {.events = item->events, .data.u64 = item->data};

	if (item->tagged && !item->fd_closed)
		sys_epoll_ctl(sets[item->set - 1].fd, item->deleted ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, item->fd, &event);
}

/* From now on the kernel has the item as the program registered it. */
static void tag_ends(struct item *item)
{
	untag(item);
	item->tagged = 0;
	if (item->deleted)
		item_free(item);
}

/* A one-shot that has fired is nothing in Linux. The kernel is told again when the program arms it. */
static void withhold(struct set *set, struct item *item)
{
	item->absent = !sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, item->fd, NULL);
}

/* Who polls the set sees the kernel's view of it: that must be of what the program registered. Of a set that our parent made,
 * the parent knows more, and relies on its tags. */
static void untag_all(struct set *set)
{
	if (set->forked)
		return;
	for (uint32_t i = 0; i < ITEMS_MAX; i++) {
		struct item *item = &items[i];

		if (item->set != (uint32_t)(set - sets) + 1)
			continue;
		if (item->disarmed && !item->absent && !item->fd_closed)
			withhold(set, item);
		if (!item->tagged)
			continue;
		tag_ends(item);
		if (item->set && item_events(item))
			ready_add(set, item);
	}
}

/* -- edges that the program has been shown (sets_lock) ------------------------------------------------------------------------ */

/* The kernel is about to see the item's socket in another light. Has the program been shown all that there is? First what
 * there is, then the edges: what comes between the two is an edge that is due. */
static void edge_hold(struct set *set, struct item *item)
{
	struct sock *sock = &socks[item->sock];
	enum edge kernels;

	item->edge = EDGE_AS_IT_COMES;
	if (!(item->events & EPOLLET) || item->disabled || item->fd_closed || set->forked || thread.vforked)
		return;
	item->held_bytes = offset_waiting(item->fd) + (sock_is_engine(sock) ? (long)local_ring_unread(&sock->end) : 0);
	item->held_events = kernel_events(item->fd, ~(uint32_t)READ_EVENTS & 0x7fff) & ~(uint32_t)READ_EVENTS;
	collect(set);
	kernels = edge_take(set->fd, item->data);
	/* A sender posts after it has published: what nobody has been told of yet is due. */
	if (kernels == EDGE_TAKEN ||
	    (kernels == EDGE_NONE && (ring_published(item) != item->looked_at || (item->in_ready && edge_events(item)))))
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
	ready_remove(set, item);
	if (edge == EDGE_IS_SHOWN && edge_take(set->fd, item->data) != EDGE_UNKNOWN &&
	    offset_waiting(item->fd) == item->held_bytes &&
	    (kernel_events(item->fd, ~(uint32_t)READ_EVENTS & 0x7fff) & ~(uint32_t)READ_EVENTS) == item->held_events)
		return;
	edge_register(set->fd, item->fd, registration);
}

/* The same of an item that we go on with. */
static void settle_known(struct set *set, struct item *item)
{
	struct epoll_event event = exact_registration(item);

	edge_settle(set, item, registration_of(&event));
}

/* The kernel alone goes on with the item, and must have what the program registered; what is edge-triggered shows none by
 * that. */
static void leave_exact(struct set *set, struct item *item)
{
	struct epoll_event event = exact_registration(item);

	if (set->forked || item->fd_closed)
		return;
	if (item->tagged || item->absent) {
		untag(item);
	} else if (item->disabled) {
		if (item->disarmed)
			withhold(set, item);
	} else if (event.events & EPOLLIN && !(event.events & (EPOLLRDHUP | EPOLLEXCLUSIVE))) {
		edge_hold(set, item);
		if (!(item->events & EPOLLET) || item->edge != EDGE_AS_IT_COMES)
			sys_epoll_ctl(set->fd, EPOLL_CTL_MOD, item->fd, &event);
		edge_settle(set, item, event);
	}
}

/* -- hooks of sock/ ------------------------------------------------------------------------------------------------------------------ */

static int engine_begins(struct sock *sock, int fd)
{
	int reason = 0;

	(void)fd; /* the hook's form; bells belong to sets, not to descriptors */
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at && !reason; at = items[at - 1].next_of_sock) {
		struct set *set = &sets[items[at - 1].set - 1];
		struct set_pair *found = set_pair_find(set, sock->end.pair);

		if (found && load_relaxed(&sock->end.rx->watch_mask) & 1u << found->bell)
			continue;
		reason = watch_begin(set, sock);
	}
	for (uint32_t at = sock->first_item; at && !reason; at = items[at - 1].next_of_sock) {
		items[at - 1].looked_at = ring_published(&items[at - 1]);
		if (can_be_tagged(&sets[items[at - 1].set - 1], &items[at - 1]))
			tag(&sets[items[at - 1].set - 1], &items[at - 1]);
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
			leave_exact(&sets[item->set - 1], item);
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
		leave_exact(&sets[item->set - 1], item);
		item->tagged = 0;
		item->fd_closed = 1;
		if (item->deleted)
			item_free(item);
		else if (item_events(item))
			ready_add(&sets[item->set - 1], item);
	}
	spinlock_release(&sets_lock);
}

/* What is unread goes into the kernel: the program may have been shown it. */
static void kernel_gets(struct sock *sock)
{
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		edge_hold(&sets[items[at - 1].set - 1], &items[at - 1]);
	spinlock_release(&sets_lock);
}

static void kernel_has(struct sock *sock)
{
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock)
		settle_known(&sets[items[at - 1].set - 1], &items[at - 1]);
	spinlock_release(&sets_lock);
}

void epoll_edge(struct sock *sock, uint32_t events)
{
	if (!load_relaxed(&sock->first_item))
		return;
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock) {
		struct set *set = &sets[items[at - 1].set - 1];

		if (!(items[at - 1].events & EPOLLET) || !(items[at - 1].events & events) || !item_events(&items[at - 1]))
			continue;
		ready_add(set, &items[at - 1]);
		wake_set(set);
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
		struct set *set = &sets[items[at - 1].set - 1];

		if (items[at - 1].events & EPOLLET || !item_events(&items[at - 1])) /* the kernel's bytes were the edge */
			continue;
		ready_add(set, &items[at - 1]);
		wake_set(set);
	}
	spinlock_release(&sets_lock);
}

/* Another socket takes the descriptor's place (sock/relay.c). The kernel's set knows the old one as long as anybody holds
 * it, and could not be told later. */
static void replace_begins(struct sock *sock, int fd)
{
	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = items[at - 1].next_of_sock) {
		const struct set *set = &sets[items[at - 1].set - 1];

		if (items[at - 1].fd == fd && !set->forked) /* the kernel's set of another process stays as it is */
			sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, fd, NULL);
	}
	spinlock_release(&sets_lock);
}

/* The item of the old socket becomes one of the new, which is the kernel's alone. */
static void item_replace(struct item *old, struct sock *fresh)
{
	struct set *set = &sets[old->set - 1];
	struct epoll_event event = exact_registration(old);
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

	spinlock_acquire(&sets_lock);
	for (uint32_t at = sock->first_item; at; at = next) {
		next = items[at - 1].next_of_sock;
		if (items[at - 1].fd == fd)
			item_replace(&items[at - 1], fresh);
	}
	spinlock_release(&sets_lock);
}

int epoll_start(void)
{
	sets = memory_private(SETS_MAX * sizeof(*sets));
	items = memory_private(ITEMS_MAX * sizeof(*items));
	sock_hooks = (struct sock_hooks){.engine_begins = engine_begins,
	                                 .ends = sock_ends,
	                                 .descriptor_closes = descriptor_closes,
	                                 .kernel_gets = kernel_gets,
	                                 .kernel_has = kernel_has,
	                                 .replace_begins = replace_begins,
	                                 .replaced = replaced};
	return sets && items ? 0 : -ENOMEM;
}

void epoll_stop(void)
{
	sets = memory_release(sets, SETS_MAX * sizeof(*sets));
	items = memory_release(items, ITEMS_MAX * sizeof(*items));
}

static int is_close_on_exec(int fd)
{
	long flags = sys_fcntl(fd, F_GETFD, 0);

	return flags < 0 || flags & FD_CLOEXEC;
}

/* The child may hand the set to a program that knows no tags, or close its sockets: from then on the kernel has what the
 * program registered. */
void epoll_fork_prepare(void)
{
	for (uint32_t i = 0; sets && i < SETS_MAX; i++) {
		if (!load_acquire(&sets[i].state) || sets[i].forked || sets[i].shared || is_close_on_exec(sets[i].fd))
			continue;
		spinlock_acquire(&sets_lock);
		sets[i].shared = 1;
		untag_all(&sets[i]);
		spinlock_release(&sets_lock);
	}
}

void epoll_fork_child(void)
{
	sets_lock.held = 0;
	for (uint32_t i = 0; sets && i < SETS_MAX; i++)
		if (sets[i].state) {
			sets[i].forked = 1;
			sets[i].sleepers = 0;
			sets[i].pairs_count = 0;
		}
}

/* -- sets --------------------------------------------------------------------------------------------------------------------------- */

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
	spinlock_release(&sets_lock);
	if (set->polled)
		__atomic_sub_fetch(&polled_sets, 1, __ATOMIC_RELAXED);
	store_release(&set->state, 0);
}

/* The kernel alone speaks for `fd` in this set. Another socket may lie behind it then (sock/relay.c), and no item of ours
 * would bring that one there: so it is registered when that is known. */
static void leave_to_kernel(const struct set *set, struct sock *sock, int fd, const struct epoll_event *event)
{
	struct epoll_event registration = *event;

	sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, fd, NULL);
	sock_into_kernel(sock, fd, set->forked ? reason_shared : reason_table_full);
	sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &registration);
}

/* 1, and a copy of the item, when it is of this set: no ring is watched for it any more. */
static int unwatch(struct set *set, struct item *item, struct item *copy)
{
	uint32_t number = (uint32_t)(set - sets) + 1;

	spinlock_acquire(&sets_lock);
	if (item->set == number)
		collect(set); /* what has not been shown stays an edge */
	if (item->set == number && item->tagged)
		tag_ends(item);
	if (item->set == number && sock_is_engine(&socks[item->sock]))
		watch_end(set, &socks[item->sock]);
	else if (item->set == number)
		leave_exact(set, item);
	*copy = *item;
	spinlock_release(&sets_lock);
	return copy->set == number;
}

void epoll_set_passes(uint32_t index)
{
	for (uint32_t i = 0; i < ITEMS_MAX; i++) {
		struct epoll_event event;
		struct item item;

		if (!unwatch(&sets[index], &items[i], &item) || !sock_is_engine(&socks[item.sock]))
			continue;
		sock_into_kernel(&socks[item.sock], item.fd, reason_inherited);
		event = (struct epoll_event){.events = item.disabled ? EPOLLONESHOT : item.events, .data.u64 = item.data};
		sys_epoll_ctl(sets[index].fd, EPOLL_CTL_ADD, item.fd, &event); /* where another socket has come in its place */
	}
}

/* No bell can tell of it: so nothing new may come by its ring. What is unread there is ready now, the kernel tells of the
 * rest. */
static void stay_unwatched(struct set *set, struct sock *sock, struct item *item, int fd, enum reason reason)
{
	sock_never(sock, fd, reason);
	spinlock_acquire(&sets_lock);
	if (item->set == (uint32_t)(set - sets) + 1 && &socks[item->sock] == sock && item_events(item)) {
		ready_add(set, item);
		wake_set(set);
	}
	spinlock_release(&sets_lock);
}

static long control_add(struct set *set, struct sock *sock, int fd, const struct epoll_event *event)
{
	struct epoll_event registration = registration_of(event);
	long error = sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &registration);
	struct item *item;
	int reason = 0;

	if (error)
		return error;
	spinlock_acquire(&sets_lock);
	item = set->forked ? NULL : item_new(set, sock, fd);
	if (item && sock_is_engine(sock) && !set_watches(set, sock, item))
		reason = watch_begin(set, sock);
	if (item)
		item_arm(set, item, event);
	if (item && item->in_ready)
		wake_set(set);
	spinlock_release(&sets_lock);
	if (!item)
		leave_to_kernel(set, sock, fd, event);
	if (reason)
		stay_unwatched(set, sock, item, fd, (enum reason)reason);
	return 0;
}

/* A change of an item whose registration is ours: usually nothing that the kernel need know. */
static long control_tagged(struct set *set, struct item *item, int operation, const struct epoll_event *event)
{
	if (event->events & EPOLLEXCLUSIVE && (operation == EPOLL_CTL_MOD || event->events & ~(uint32_t)EXCLUSIVE_MAY))
		return -EINVAL;
	if (operation == EPOLL_CTL_ADD ? !item->deleted : item->deleted)
		return operation == EPOLL_CTL_ADD ? -EEXIST : -ENOENT;
	ready_remove(set, item);
	if (operation == EPOLL_CTL_DEL) {
		item->deleted = 1;
		item->events = 0;
		return 0;
	}
	if (event->events & MODES) {
		struct epoll_event registration = registration_of(event);
		long error;

		if (item->deleted) /* some modes can only be added */
			sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, item->fd, NULL);
		error = sys_epoll_ctl(set->fd, item->deleted ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, item->fd, &registration);
		if (error)
			return error;
		item->tagged = 0;
	}
	item_arm(set, item, event);
	if (item->in_ready)
		wake_set(set);
	return 0;
}

static long control_absent(struct set *set, struct item *item, int operation, const struct epoll_event *event)
{
	struct epoll_event registration = registration_of(event);
	long error;

	if (operation == EPOLL_CTL_ADD)
		return -EEXIST;
	if (operation == EPOLL_CTL_DEL) {
		item_free(item);
		return 0;
	}
	if (event->events & EPOLLEXCLUSIVE)
		return -EINVAL;
	error = sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, item->fd, &registration);
	if (error)
		return error;
	item->absent = 0;
	item_arm(set, item, event);
	if (item->in_ready)
		wake_set(set);
	return 0;
}

static long control_plain(struct set *set, struct item *item, int operation, int fd, const struct epoll_event *event)
{
	struct epoll_event registration = {0};
	long error;

	if (event)
		registration = registration_of(event);
	if (item && item->absent)
		return control_absent(set, item, operation, event);
	error = sys_epoll_ctl(set->fd, operation, fd, operation == EPOLL_CTL_DEL ? NULL : &registration);
	if (error || !item)
		return error;
	ready_remove(set, item);
	if (operation == EPOLL_CTL_DEL) {
		item_free(item);
	} else {
		item_arm(set, item, event);
		if (item->in_ready)
			wake_set(set);
	}
	return 0;
}

long epoll_control(int set_fd, int operation, int fd, const struct epoll_event *event)
{
	struct set *set = set_of(set_fd);
	struct sock *sock = sock_of(fd);
	struct epoll_event copied = {0};
	struct item *item;
	long result;

	if (operation != EPOLL_CTL_DEL && copy_guarded(&copied, event, sizeof(copied)))
		return -EFAULT;
	if (descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_SET && operation == EPOLL_CTL_ADD)
		epoll_set_is_polled(fd);
	if (!set || !sock) {
		if (sock && operation == EPOLL_CTL_ADD) /* a set that we did not see being made: it has no bell */
			sock_never(sock, fd, reason_inherited);
		return sys_epoll_ctl(set_fd, operation, fd, &copied);
	}
	spinlock_acquire(&sets_lock);
	item = item_find(set, sock, fd);
	if (item) /* found by a descriptor that the program has: it is that of the registration again */
		item->fd_closed = 0;
	if (item && item->tagged) {
		result = control_tagged(set, item, operation, &copied);
	} else if (item || operation != EPOLL_CTL_ADD) {
		result = control_plain(set, item, operation, fd, &copied);
	} else {
		spinlock_release(&sets_lock);
		return control_add(set, sock, fd, &copied);
	}
	spinlock_release(&sets_lock);
	return result;
}

/* -- collecting ------------------------------------------------------------------------------------------------------------------------ */

static uint32_t ready_words(const struct pair *pair)
{
	static const uint32_t words[] = {0, 1, 1, 1, 2, 4};
	uint32_t regions = load_relaxed(&pair->regions_count);

	return regions < 6 ? words[regions] : SHM_READY_WORDS;
}

static uint64_t *ready_word(struct set_pair *watched, uint32_t word)
{
	return &pair_own(watched->pair)->ready[watched->bell * SHM_READY_WORDS + word];
}

static int rings_have_posted(struct set *set)
{
	if (load_acquire(&set->ready_first))
		return 1;
	for (uint32_t i = 0; i < load_acquire(&set->pairs_count); i++)
		for (uint32_t w = 0; w < ready_words(set->pairs[i].pair); w++)
			if (load_relaxed(ready_word(&set->pairs[i], w)))
				return 1;
	return 0;
}

/* A death that was a reset, which is told once; of an end the kernel has told. */
static int death_tells_more(struct item *item)
{
	struct sock *sock = &socks[item->sock];

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
		if (items[at - 1].set == (uint32_t)(set - sets) + 1) {
			local_service(&socks[number - 1].end, item_fd(&items[at - 1]));
			items[at - 1].looked_at = ring_published(&items[at - 1]);
			if (!dead || death_tells_more(&items[at - 1]))
				ready_add(set, &items[at - 1]);
		}
}

/* Takes what rings have posted over into the ready list. */
static void collect(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		for (uint32_t w = 0; w < ready_words(set->pairs[i].pair); w++) {
			uint64_t *word = ready_word(&set->pairs[i], w);
			uint64_t bits = load_relaxed(word) ? exchange(word, 0) : 0;

			for (; bits; bits &= bits - 1)
				collect_socket(set, set->pairs[i].pair, w * 64 + (uint32_t)__builtin_ctzll(bits), 0);
		}
}

static int has_events(const struct set *set)
{
	for (uint32_t at = set->ready_first; at; at = items[at - 1].next_ready)
		if (edge_events(&items[at - 1]))
			return 1;
	return 0;
}

static int some_peer_is_gone(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++)
		if (!pair_peer_lives(set->pairs[i].pair))
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

/* A peer has died: whose bytes it has left unread is reset, and the kernel may have told of the end long ago. */
static void bury(struct set *set)
{
	for (uint32_t i = 0; i < set->pairs_count; i++) {
		struct pair *pair = set->pairs[i].pair;

		store_relaxed(&pair->asked_ticks, 0);
		for (uint32_t channel = 0; !pair_peer_lives(pair) && channel < SHM_CHANNELS_MAX; channel++)
			collect_socket(set, pair, channel, 1);
		if (pair_peer_lives(pair))
			continue;
		set->pairs[i].buried = 1; /* who polls the set would see it for ever */
		sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, pair->peer_fd, NULL);
	}
}

/* The bells of a polled set speak for its rings: also when a receive has emptied them. First the bits, then the look; who
 * sleeps on the set finds the bell again. */
static void tell_by_bell(struct set *set)
{
	ask_for_bells(set);
	collect(set);
	if (some_peer_is_unburied(set))
		bury(set);
	if (!has_events(set)) {
		for (uint32_t i = 0; i < set->pairs_count; i++)
			pair_bell_empty(set->pairs[i].pair, (int)set->pairs[i].bell);
		ask_for_bells(set); /* who rang just now has cleared the bit, and the bell is empty again */
		collect(set);
	}
	if (has_events(set))
		wake_set(set);
}

void epoll_set_is_polled(int set_fd)
{
	struct set *set = set_of(set_fd);

	if (!set)
		return;
	spinlock_acquire(&sets_lock);
	if (!set->polled) {
		untag_all(set);
		fetch_add(&polled_sets, 1);
	}
	set->polled = 1;
	tell_by_bell(set);
	spinlock_release(&sets_lock);
}

/* Some of the polled sets may be members of the one that is looked at. */
static void tell_of_members(const struct set *except)
{
	if (likely(!load_relaxed(&polled_sets)))
		return;
	spinlock_acquire(&sets_lock);
	for (uint32_t i = 0; i < SETS_MAX; i++)
		if (sets[i].state && sets[i].polled && &sets[i] != except)
			tell_by_bell(&sets[i]);
	spinlock_release(&sets_lock);
}

/* A one-shot that has fired by its ring. EPOLL_CTL_MOD leaves the kernel showing errors and ends of it, once, which we
 * filter, but who polls the set would see. */
static void disarm(struct set *set, struct item *item)
{
	struct epoll_event none = {.events = EPOLLONESHOT, .data.u64 = item->data};

	item->disabled = item->disarmed = 1;
	if (item->fd_closed)
		return;
	if (set->polled)
		withhold(set, item);
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
		int last = (uint32_t)(item - items) + 1 == stop;

		tell_what_is_missing(set, item);
		if (item->events & EPOLLONESHOT && sock_is_engine(&socks[item->sock])) /* told once: with the peer's death */
			local_check_end(&socks[item->sock].end, item->fd);
		ready = edge_events(item);
		if (ready) {
			events[reported].events = ready;
			events[reported++].data.u64 = item->data;
			if (item->events & EPOLLONESHOT)
				disarm(set, item);
			else if (!(item->events & EPOLLET))
				ready_add(set, item);
		}
		if (last)
			break;
	}
	return reported;
}

static int rings_give(struct set *set, struct epoll_event *events, int count)
{
	int reported;

	/* Somebody polls the set: the next bytes must ring the bell again. Set the bits, then look. */
	if (unlikely(set->polled))
		ask_for_bells(set);
	if (!rings_have_posted(set))
		return 0;
	spinlock_acquire(&sets_lock);
	collect(set);
	reported = report(set, events, count);
	if (set->ready_first && (set->sleepers || set->polled))
		wake_set(set);
	spinlock_release(&sets_lock);
	return reported;
}

/* -- the kernel's events ------------------------------------------------------------------------------------------------------------------- */

/* The item behind an event of the kernel, or NULL: then it is not one of ours, or not worth the search. */
static struct item *item_of_event(struct set *set, const struct epoll_event *event, int search)
{
	uint32_t number = (uint32_t)(set - sets) + 1;

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
	if (ended && !item->deleted && sock_is_engine(&socks[item->sock])) {
		if (local_believe_end(&socks[item->sock].end, item_fd(item))) {
			event->events |= kernel_events(item_fd(item), item->events & 0x7fff) & (item->events | ALWAYS_EVENTS);
			item->reset = item->events & EPOLLET && load_relaxed(&socks[item->sock].shared->pending_error);
		}
		event->events |= item_events(item);
	}
	if (item->events & EPOLLONESHOT) {
		item->disabled = 1;
		ready_remove(set, item);
	}
	if (!event->events && tagged)
		quiet_kernel(set, item);
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

/* Adds the kernel's `got` events at events[have …] to the `have` ones of the rings: bells go, doubles are merged. */
static int merge(struct set *set, struct epoll_event *events, int have, int got)
{
	int gone = got && set->pairs_count && some_peer_is_gone(set);
	int total = have;

	for (int i = 0; i < got; i++) {
		struct epoll_event event = events[have + i];

		if (event.data.u64 == DEATH_DATA) {
			spinlock_acquire(&sets_lock);
			bury(set);
			spinlock_release(&sets_lock);
		}
		if (event.data.u64 == BELL_DATA || event.data.u64 == DEATH_DATA || !note_kernel_event(set, &event, gone))
			continue;
		total = add_event(events, have, total, event);
	}
	return total;
}

/* What a death has left in the rings' list, behind the `total` events that there are. */
static int add_left(struct set *set, struct epoll_event *events, int total, int count)
{
	int have = total, left = rings_give(set, events + total, count - total);

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

/* A look has taken the bell, on which somebody else sleeps: what the rings have is his. Who rang has cleared the bit for
 * all; first the bit, then the look. Who polls the set is not told again: a bell must not outlive the bytes there. */
static void give_bell_back(struct set *set)
{
	spinlock_acquire(&sets_lock);
	if (set->sleepers) {
		ask_for_bells(set);
		if (rings_have_posted(set))
			wake_set(set);
	}
	spinlock_release(&sets_lock);
}

/* What the kernel gave behind `have` events of the rings. A death leaves more: resets in the rings' list, and edges of the
 * kernel for them, which are the same (item.reset). */
static int take_in(struct set *set, int fd, struct epoll_event *events, int have, int got, int count)
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

static long kernel_gives(struct set *set, int fd, struct epoll_event *events, int have, int count)
{
	long got = sys_epoll_wait(fd, events + have, count - have, 0);

	store_relaxed(&set->kernel_asked, cpu_ticks());
	if (got < 0)
		return have ? have : got;
	if (unlikely(has_data(events + have, got, BELL_DATA)))
		give_bell_back(set);
	return take_in(set, fd, events, have, (int)got, count);
}

/* -- waiting ---------------------------------------------------------------------------------------------------------------------------------- */

/* The rings' events and the kernel's, each time: what the program did before the call must show. */
static long look(struct set *set, int fd, struct epoll_event *events, int count)
{
	int overdue = cpu_ticks() - load_relaxed(&set->kernel_asked) > clock_ticks_of_us(KERNEL_TURN_US);
	int have;

	if (count == 1 && overdue) {
		long got = kernel_gives(set, fd, events, 0, 1);

		if (got)
			return got;
	}
	have = rings_give(set, events, count - (count > 1 && overdue));
	return have == count ? have : kernel_gives(set, fd, events, have, count);
}

/* 1: look; 0: sleep. Kernel events found on the way are in *found. */
static int spin_for_events(struct set *set, int fd, struct epoll_event *events, int count, long *found,
                           struct signal_mark mark)
{
	struct spin spin;

	spin_begin(&spin);
	while (spin_turn(&spin)) {
		if (rings_have_posted(set) || signal_came(mark)) {
			spin_won(&spin);
			return 1;
		}
		if (spin_should_ask(&spin, SPIN_KERNEL_ASK_US)) {
			*found = kernel_gives(set, fd, events, 0, count);
			if (*found) {
				spin_won(&spin);
				return 1;
			}
		}
	}
	spin_lost(&spin);
	return 0;
}

static void sleep_publish(struct set *set)
{
	spinlock_acquire(&sets_lock);
	set->sleepers++;
	ask_for_bells(set);
	spinlock_release(&sets_lock);
}

/* The bit stays while others sleep: who wakes first looks at the rings after setting it again. */
static void sleep_withdraw(struct set *set)
{
	spinlock_acquire(&sets_lock);
	if (set->sleepers)
		set->sleepers--;
	if (set->sleepers || set->polled)
		ask_for_bells(set);
	else
		for (uint32_t i = 0; i < set->pairs_count; i++)
			fetch_and(&pair_own(set->pairs[i].pair)->set_sleep_mask, ~(1u << set->pairs[i].bell));
	spinlock_release(&sets_lock);
}

static long sleep_for_events(struct set *set, int fd, struct epoll_event *events, int room, uint64_t deadline_ns,
                             const sigset_t *mask, struct signal_mark mark)
{
	long got = 0;

	sleep_publish(set);
	if (!rings_have_posted(set)) {
		if (set->pairs_count)
			count(counter_sleeps, 1);
		got = sleep_epoll(fd, events, room, deadline_ns, mask, mark);
	}
	sleep_withdraw(set);
	return got > 0 ? take_in(set, fd, events, 0, (int)got, room) : got;
}

/* The bell may have come together with the kernel's events, and somebody else sleeps: the rings are his. */
static void pass_bell_on(struct set *set)
{
	spinlock_acquire(&sets_lock);
	if ((set->sleepers || set->polled) && rings_have_posted(set))
		wake_set(set);
	spinlock_release(&sets_lock);
}

static long wait_loop(struct set *set, int fd, struct epoll_event *events, int count, uint64_t deadline_ns,
                      const sigset_t *mask)
{
	struct signal_mark mark = signal_now();

	for (;;) {
		long found = look(set, fd, events, count);
		int have;

		if (found || (deadline_ns == 0 && !mask)) /* with a mask the kernel must look for signals */
			return found;
		if (signal_came(mark))
			return -EINTR;
		if (!mask && set->pairs_count && spin_for_events(set, fd, events, count, &found, mark)) {
			if (found)
				return found;
			continue;
		}
		found = sleep_for_events(set, fd, events, count, deadline_ns, mask, mark);
		if (set_of(fd) != set)
			return -EBADF;
		if (found > 0) {
			pass_bell_on(set);
			return found;
		}
		have = rings_give(set, events, count);
		if (have)
			return have;
		if (signal_came(mark))
			return -EINTR;
		if (found <
		    0) /* -EINTR also without a handler: SIGCONT, or a signal that another thread has blocked (signal(7)) */
			return found;
		if (deadline_ns != CLOCK_NEVER && clock_now_ns() >= deadline_ns)
			return kernel_gives(set, fd, events, 0, count);
	}
}

/* A set that this process inherited: its sockets go back to the kernel when it is first used here. */
static void forked_use(struct set *set)
{
	for (uint32_t i = 0; i < ITEMS_MAX; i++)
		if (items[i].set == (uint32_t)(set - sets) + 1 && sock_enter(&socks[items[i].sock], items[i].fd) == 0)
			sock_leave(&socks[items[i].sock]);
	set->forked = 2;
}

long epoll_wait_events(int set_fd, struct epoll_event *events, int count, uint64_t deadline_ns, const sigset_t *mask)
{
	struct set *set = set_of(set_fd);

	if (set->forked == 1)
		forked_use(set);
	tell_of_members(set);
	return wait_loop(set, set_fd, events, count, deadline_ns, mask);
}
