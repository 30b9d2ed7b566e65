/* What the files of epoll sets share: sets, items, and who does what with them. epoll.h has the idea; interpose/ and the
 * other waits include that one only.
 *
 *   set.c            tables of sets and items, their life
 *   set_tag.c        what the kernel's set is told of an item
 *   set_bell.c       bells of sets, and sets that are polled
 *   set_ready.c      what an item shows; ready bitmaps to ready list to events
 *   set_edge.c       edges that the program has been shown, when the kernel goes on with a socket
 *   set_kernel.c     what the kernel's events mean
 *   set_hooks.c      what sockets tell their sets
 *   set_process.c    fork and exec
 *   epoll_control.c  epoll_ctl(2)
 *   epoll.c          epoll_wait(2)
 *
 * One lock, sets_lock, for all of it: the caller holds it, unless the prototype says otherwise. It is never held while
 * sleeping. An item belongs to its set and its socket as long as `set` is not 0, and both change under the lock only. */
#ifndef BYWAY_WAIT_SET_H
#define BYWAY_WAIT_SET_H

#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/spinlock.h"
#include "base/sys.h"
#include "sock/sock.h"
#include "wait/epoll.h"

#define SETS_MAX 1024
#define ITEMS_MAX 65536
#define SET_PAIRS_MAX 64

/* Data of events in the kernel's sets that are not the program's. */
#define BELL_DATA 0xb37a9e1150ca4d27 /* marks the bells among the kernel's events */
#define DEATH_DATA 0x8f1c6a20d3b7e945 /* marks the pidfds of peers */
#define ITEM_DATA 0x5d0cb7e213000000 /* marks items whose registration is ours; the item's index is in the low bits */
#define ITEM_DATA_MASK 0xffffffffff000000

#define MODES (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE)
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
	int own_bell; /* descriptor + 1; 0: none yet. Rung where the set has no pair's */
	uint64_t kernel_asked; /* ticks */
	struct set_pair pairs[SET_PAIRS_MAX];
};

enum held_edge {
	EDGE_AS_IT_COMES = 0,
	EDGE_IS_SHOWN = 1, /* the program has been shown all that there is */
	EDGE_IS_DUE = 2
};

struct item {
	uint32_t set; /* index + 1; 0: free */
	uint32_t sock; /* index */
	int fd;
	uint32_t events;
	uint64_t data;
	uint32_t next_of_sock; /* index + 1 */
	uint32_t next_ready; /* index + 1 */
	uint32_t registered; /* with `tagged`: the events that the kernel was told */
	uint8_t in_ready;
	uint8_t disabled; /* EPOLLONESHOT has fired */
	uint8_t tagged; /* registered with ITEM_DATA */
	uint8_t reset; /* edge-triggered: the edge of an emulated reset is on its way, and has been reported */
	uint8_t deleted; /* with `tagged`: EPOLL_CTL_DEL that the kernel was not told */
	uint8_t disarmed; /* with `disabled`: it was us who told the kernel */
	uint8_t
		absent; /* with `disabled`: the kernel does not have it, since it shows an end of a socket that wants nothing */
	uint8_t fd_closed; /* the socket lives on by another descriptor; the kernel cannot be told anything of the item */
	uint8_t edge; /* enum held_edge: between item_edge_hold and item_edge_settle */
	uint64_t looked_at; /* the ring's bytes that were published when a post was last taken over */
	uint32_t held_events; /* of the kernel, at item_edge_hold, but for bytes to read */
	int64_t held_bytes; /* unread then */
};

/* Set once by epoll_start. Hidden: reached without a look at a table of addresses. */
#pragma GCC visibility push(hidden)
extern struct set *sets; /* SETS_MAX */
extern struct item *items; /* ITEMS_MAX */
extern struct spinlock sets_lock;
extern uint32_t sets_polled; /* how many are */
#pragma GCC visibility pop

/* The set behind `fd`, or NULL when we do not know one. Without the lock. */
static inline struct set *set_of(int fd)
{
	uint32_t entry = descriptor_entry(fd);

	return descriptor_kind(entry) == DESCRIPTOR_SET ? &sets[descriptor_index(entry)] : NULL;
}

/* Index + 1, as links have it. */
static inline uint32_t set_number(const struct set *set)
{
	return (uint32_t)(set - sets) + 1;
}
static inline uint32_t item_number(const struct item *item)
{
	return (uint32_t)(item - items) + 1;
}
static inline struct set *item_set(const struct item *item)
{
	return &sets[item->set - 1];
}
static inline struct sock *item_sock(const struct item *item)
{
	return &socks[item->sock];
}

/* What the kernel says of one descriptor; poll's and epoll's events have the same values. Without the lock. */
static inline uint32_t item_kernel_events(int fd, uint32_t wanted)
{
	struct pollfd asked = {.fd = fd, .events = (short)wanted};

	return sys_poll(&asked, 1, 0) == 1 ? (uint32_t)(uint16_t)asked.revents : 0;
}

/* -- set.c ------------------------------------------------------------------------------------------------------------- */

/* The item of `fd` in the set, or NULL. */
struct item *item_find(const struct set *set, const struct sock *sock, int fd);
/* An item that wants nothing yet, or NULL: there are too many. */
struct item *item_new(struct set *set, struct sock *sock, int fd);
void item_free(struct item *item);
/* The program wants `event` from now on: the kernel is told what it must know, and what is there already is
 * ready, for who sleeps on the set too. */
void item_arm(struct set *set, struct item *item, const struct epoll_event *event);
/* Whether the set has an item of the socket, besides `except`. */
int set_watches(const struct set *set, const struct sock *sock, const struct item *except);

/* -- set_tag.c --------------------------------------------------------------------------------------------------------- */

/* What the kernel is told of an item that it knows as the program does: an end must be told apart from bytes. */
struct epoll_event set_registration_of(const struct epoll_event *event);
/* What the program registered, word for word, and nothing of a one-shot that has fired. */
struct epoll_event item_exact_registration(const struct item *item);
int item_can_be_tagged(const struct set *set, const struct item *item);
void item_tag(struct set *set, struct item *item);
/* The kernel gets what the program registered; the item remains tagged, for who is about to free it. */
void item_untag(struct item *item);
/* The same, and the item goes on without a tag; one that the program has deleted is freed. */
void item_tag_ends(struct item *item);
void set_untag_all(struct set *set);
/* Of a tagged item: tells the kernel what it must know and does not. */
void item_tell_what_is_missing(struct set *set, struct item *item);
/* Of a tagged item: tells the kernel to say less. Frees one that the program has deleted. */
void item_quiet_kernel(struct set *set, struct item *item);
/* Takes a one-shot that has fired out of the kernel's set. */
void item_withhold(struct set *set, struct item *item);

/* -- set_bell.c -------------------------------------------------------------------------------------------------------- */

struct set_pair *set_pair_find(struct set *set, const struct pair *pair);
/* A socket of the engine is watched by a set. 0, or a reason why it cannot be. */
int set_watch_begin(struct set *set, struct sock *sock);
void set_watch_end(struct set *set, struct sock *sock);
/* From now on who posts for a ring of the set rings its bell, once. With or without the lock. */
void set_ask_for_bells(struct set *set);
/* Rings a bell of the set's, where somebody may listen. */
void set_wake(struct set *set);
/* The set ends, or is another process's. */
void set_own_bell_close(struct set *set);
/* Takes the lock. Has all polled sets but `except` speak for their rings. */
void set_tell_polled(const struct set *except);
/* The same; some of them may be members of the set that is looked at. */
static inline void set_tell_of_members(const struct set *except)
{
	if (unlikely(load_relaxed(&sets_polled)))
		set_tell_polled(except);
}

/* -- set_ready.c ------------------------------------------------------------------------------------------------------- */

void set_ready_add(struct set *set, struct item *item);
void set_ready_remove(struct set *set, struct item *item);
/* A descriptor that the item's socket has. */
int item_fd(const struct item *item);
/* How far the peer has published bytes in the item's ring. */
uint64_t item_published(const struct item *item);
/* Of what the item wants: what its ring has, and then also what the kernel has. */
uint32_t item_events(const struct item *item);
/* The same of an item in the ready list, where an edge shows more. */
uint32_t item_edge_events(const struct item *item);
/* Takes what rings have posted over into the ready list. */
void set_collect(struct set *set);
/* A peer has died: asks each socket that it shares with us. */
void set_bury(struct set *set);
/* There may be something to collect, or to report. With or without the lock. */
int set_rings_have_posted(struct set *set);
/* Takes the lock. Puts up to `count` events of rings into `events`; how many. */
int set_rings_give(struct set *set, struct epoll_event *events, int count);

/* -- set_edge.c -------------------------------------------------------------------------------------------------------- */

/* Around a change by which the kernel sees the item's socket in another light. */
void item_edge_hold(struct set *set, struct item *item);
void item_edge_settle(struct set *set, struct item *item);
/* The kernel alone goes on with the item, as the program registered it. */
void item_leave_exact(struct set *set, struct item *item);

/* -- set_hooks.c ------------------------------------------------------------------------------------------------------- */

extern const struct sock_hooks set_hooks;

/* -- set_kernel.c, both take the lock ---------------------------------------------------------------------------------- */

/* Makes of `got` events of the kernel, which are behind the `have` events of rings, what the program sees. How many there
 * are then of both. */
int set_take_in(struct set *set, int fd, struct epoll_event *events, int have, int got, int count);
/* The same with what the kernel has now; a negative errno where there is nothing else. */
long set_kernel_gives(struct set *set, int fd, struct epoll_event *events, int have, int count);

/* -- set_process.c ----------------------------------------------------------------------------------------------------- */

/* Without the lock. A set that this process inherited is used for the first time. */
void set_forked_use(struct set *set);

#endif
