/* The kernel is asked about all descriptors, the rings are looked at beside it; a sleep is on all descriptors and the
 * bells of the rings. Sockets in plain mode keep their gate raised over the call, so that none attaches under a sleeper. */
#include "wait/poll.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/critical.h"
#include "base/memory.h"
#include "base/sys.h"
#include "sock/option.h"
#include "wait/epoll.h"
#include "wait/sleep.h"
#include "wait/spin.h"

#define ON_STACK_MAX 64
#define KERNEL_ASK_US 5
#define NAP_NS 200000
#define READ_EVENTS (POLLIN | POLLRDNORM)
#define WRITE_EVENTS (POLLOUT | POLLWRNORM)

/* What we know of one polled descriptor. */
struct polled {
	struct sock *sock; /* engine: its ring is looked at */
	struct sock *plain; /* gate raised */
	uint64_t mark;
	int bell;
	int revoked;
	int bare; /* of a sleep without a bell: sock_bare_sleep_begins */
};

struct polling {
	int32_t thread; /* that sleeps: in a child that a handler forks, the sleep is its parent's */
	struct pollfd *fds; /* the program's, copied; behind them room for as many bells */
	struct polled *sides;
	unsigned long count;
	unsigned long bells; /* behind fds */
	unsigned long engines;
	void *map;
	size_t map_bytes;
};

static int is_ours(int fd)
{
	enum descriptor_kind kind = descriptor_kind(descriptor_entry(fd));

	return kind == DESCRIPTOR_SOCKET || kind == DESCRIPTOR_SET;
}

int poll_concerns_us(const struct pollfd *fds, unsigned long count)
{
	struct pollfd block[ON_STACK_MAX];

	if (unlikely(thread.vforked)) /* what it leaves behind is its parent's */
		return 0;
	for (unsigned long at = 0; at < count; at += ON_STACK_MAX) {
		unsigned long length = count - at < ON_STACK_MAX ? count - at : ON_STACK_MAX;

		if (copy_guarded(block, fds + at, length * sizeof(*block))) /* let the kernel say EFAULT */
			return 0;
		for (unsigned long i = 0; i < length; i++)
			if (is_ours(block[i].fd))
				return 1;
	}
	return 0;
}

static short ring_events(struct sock *sock, int fd, short wanted)
{
	short ready = 0;

	if (load_relaxed(&sock->shared->pending_error))
		ready |= POLLERR | (wanted & (READ_EVENTS | WRITE_EVENTS));
	if (wanted & READ_EVENTS && epoll_ring_is_ready(sock, fd))
		ready |= wanted & READ_EVENTS;
	return ready;
}

/* -- beginning and end ---------------------------------------------------------------------------------------------------- */

static void side_begin(struct polling *polling, unsigned long i)
{
	int fd = polling->fds[i].fd;
	struct polled *side = &polling->sides[i];
	struct sock *sock = fd < 0 ? NULL : sock_of(fd);

	side->bell = side->bare = -1;
	if (fd >= 0 && descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_SET)
		epoll_set_is_polled(fd);
	if (fd >= 0 && descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_OWN)
		polling->fds[i].fd = INT32_MAX; /* not there, for the program */
	if (!sock)
		return;
	if (sock_enter(sock, fd)) {
		side->sock = sock;
		side->mark = local_rx_mark(&sock->end);
		polling->engines++;
	} else {
		side->plain = sock;
	}
}

static int polling_begin(struct polling *polling, const struct pollfd *fds, unsigned long count)
{
	if (count > ON_STACK_MAX) {
		polling->map_bytes = count * (3 * sizeof(struct pollfd) + sizeof(struct polled));
		polling->map = mmap(NULL, polling->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (polling->map == MAP_FAILED) {
			polling->map = NULL;
			return -ENOMEM;
		}
		polling->sides = polling->map;
		polling->fds = (struct pollfd *)(polling->sides + count);
	}
	memset(polling->sides, 0, count * sizeof(*polling->sides));
	memcpy(polling->fds, fds, count * sizeof(*fds));
	polling->count = count;
	polling->thread = thread_id();
	for (unsigned long i = 0; i < count; i++)
		side_begin(polling, i);
	return 0;
}

/* Once or several times. */
static void polling_end(struct polling *polling)
{
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].plain)
			sock_leave(polling->sides[i].plain);
	polling->count = 0;
	if (polling->map)
		munmap(polling->map, polling->map_bytes);
	polling->map = NULL;
}

/* -- looking --------------------------------------------------------------------------------------------------------------- */

static int rings_ready(const struct polling *polling)
{
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].sock && ring_events(polling->sides[i].sock, polling->fds[i].fd, polling->fds[i].events))
			return 1;
	return 0;
}

static long ask_kernel(struct polling *polling)
{
	return sys_poll(polling->fds, polling->count, 0);
}

/* The peer has died with our bytes unread, and the kernel knows now. */
static int is_reset(struct sock *sock, const struct pollfd *fd)
{
	if (fd->revents & (READ_EVENTS | POLLRDHUP | POLLHUP) && local_peer_has_unread(&sock->end))
		return local_believe_end(&sock->end, fd->fd);
	return local_check_end(&sock->end, fd->fd);
}

/* Adds the rings' events to what the kernel said. The number of ready descriptors. */
static long merge(struct polling *polling)
{
	long ready = 0;

	for (unsigned long i = 0; i < polling->count; i++) {
		struct polled *side = &polling->sides[i];
		struct pollfd *fd = &polling->fds[i];

		if (side->sock) {
			local_service(&side->sock->end, fd->fd);
			if (is_reset(side->sock, fd))
				sys_poll(fd, 1, 0);
			fd->revents |= ring_events(side->sock, fd->fd, fd->events);
		}
		ready += fd->revents != 0;
	}
	return ready;
}

static long look(struct polling *polling)
{
	long asked = ask_kernel(polling);

	return asked < 0 ? asked : merge(polling);
}

/* One socket, the usual case: no system call where the shared memory tells all. -1: it does not. */
static long look_at_one(struct polling *polling)
{
	struct pollfd *fd = polling->fds;
	struct sock *sock = polling->sides[0].sock;
	short known;

	if (polling->count != 1 || !sock || fd->events & ~(READ_EVENTS | WRITE_EVENTS))
		return -1;
	if (load_relaxed(&sock->end.rx->closed) || load_relaxed(&sock->end.rx->half_closed) ||
	    load_relaxed(&sock->end.tx->half_closed) || !local_peer_is_well(&sock->end))
		return -1;
	known = ring_events(sock, fd->fd, fd->events);
	if (!known || known & POLLERR || (fd->events & WRITE_EVENTS && !local_sends_by_ring(&sock->end)))
		return -1;
	fd->revents = (short)(known | (fd->events & WRITE_EVENTS));
	return 1;
}

/* -- waiting ----------------------------------------------------------------------------------------------------------------- */

static int spin_for_ready(struct polling *polling, struct signal_mark mark)
{
	struct spin spin;

	spin_begin(&spin);
	while (spin_turn(&spin)) {
		if (rings_ready(polling) || signal_came(mark) ||
		    (spin_should_ask(&spin, KERNEL_ASK_US) && ask_kernel(polling) != 0)) {
			spin_won(&spin);
			return 1;
		}
	}
	spin_lost(&spin);
	return 0;
}

static void add_bell(struct polling *polling, int bell_fd)
{
	struct pollfd *bells = polling->fds + polling->count;

	for (unsigned long i = 0; i < polling->bells; i++)
		if (bells[i].fd == bell_fd)
			return;
	bells[polling->bells++] = (struct pollfd){.fd = bell_fd, .events = POLLIN};
}

/* A peer that dies with our bytes unread in its ring is an end to the kernel, and no reset. Who does not ask for ends would
 * not be woken, nor who has been shown one by a half-close: the process is watched too. */
static void watch_death(struct polling *polling, const struct sock *sock, short wanted)
{
	if (wanted & (READ_EVENTS | POLLRDHUP) && !load_relaxed(&sock->end.rx->half_closed))
		return;
	if (!load_relaxed(&sock->end.pair->dead))
		add_bell(polling, sock->end.pair->peer_fd);
}

static void sleep_bare(struct polling *polling, struct polled *side)
{
	side->bare = sock_bare_sleep_begins(side->sock);
	if (side->bare >= 0)
		add_bell(polling, side->bare);
}

/* 0: nothing wakes us for what the ring has already (not readable yet, or too little), as there is no bell. */
static int publish_sleep(struct polling *polling, unsigned long i)
{
	struct polled *side = &polling->sides[i];
	struct pair *pair = side->sock->end.pair;

	watch_death(polling, side->sock, polling->fds[i].events);
	if (!(polling->fds[i].events & READ_EVENTS)) {
		sleep_bare(polling, side);
		return 1;
	}
	if (!(load_relaxed(&side->sock->shared->flags) & SOCK_RX_KERNEL))
		side->bell = pair_bell_lease(pair, (uintptr_t)polling);
	if (side->bell >= 0) {
		add_bell(polling, pair->bells[side->bell]);
		fetch_or(&side->sock->end.rx->sleep_mask, 1u << side->bell);
		return 1;
	}
	sleep_bare(polling, side);
	side->revoked = 1;
	return !local_kernel_sleep_begins(&side->sock->end);
}

static void bells_give_back(struct polling *polling)
{
	/* First no bit of ours is anywhere, then the bell may be another's: the sockets of one pair share it. */
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].bell >= 0)
			fetch_and(&polling->sides[i].sock->end.rx->sleep_mask, ~(1u << polling->sides[i].bell));
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].bell >= 0)
			pair_bell_return(polling->sides[i].sock->end.pair, polling->sides[i].bell, (uintptr_t)polling);
}

static void withdraw_sleep(struct polled *side, int fd, int sleeps_here)
{
	sock_bare_sleep_ends(side->sock, side->bare);
	if (side->revoked && sleeps_here)
		local_kernel_sleep_ends(&side->sock->end);
	side->bell = side->bare = -1;
	side->revoked = 0;
	if (sleeps_here)
		local_service(&side->sock->end, fd);
}

/* Once or several times. */
static void withdraw_sleeps(struct polling *polling)
{
	int sleeps_here = polling->thread == thread_id();

	critical_enter();
	if (sleeps_here)
		bells_give_back(polling);
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].sock)
			withdraw_sleep(&polling->sides[i], polling->fds[i].fd, sleeps_here);
	critical_leave();
}

static void drain_bells(struct polling *polling)
{
	struct pollfd *bells = polling->fds + polling->count;

	for (unsigned long i = 0; i < polling->bells; i++)
		if (bells[i].revents) /* of a process it fails, and does no harm */
			bell_empty(bells[i].fd);
	polling->bells = 0;
}

static long sleep_until_ready(struct polling *polling, uint64_t deadline_ns, const sigset_t *mask,
                              struct signal_mark mark)
{
	long slept = 0;
	int is_woken = 1;

	critical_enter();
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].sock)
			is_woken &= publish_sleep(polling, i);
	critical_leave();
	if (!is_woken && clock_now_ns() + NAP_NS < deadline_ns)
		deadline_ns = clock_now_ns() + NAP_NS;
	if (!rings_ready(polling)) {
		count(counter_sleeps, polling->bells > 0);
		slept = sleep_poll(polling->fds, polling->count + polling->bells, deadline_ns, mask, mark);
	}
	drain_bells(polling);
	withdraw_sleeps(polling);
	return slept;
}

/* The descriptor is the kernel's alone where a relay has taken its socket. */
static void forget_relayed(struct polling *polling)
{
	for (unsigned long i = 0; i < polling->count; i++)
		if (polling->sides[i].sock && unlikely(local_is_relayed(&polling->sides[i].sock->end)))
			polling->sides[i].sock = NULL;
}

static long wait_loop(struct polling *polling, uint64_t deadline_ns, const sigset_t *mask)
{
	struct signal_mark mark = signal_now();
	int slept = 0;

	for (;; slept = 1) {
		long ready;

		forget_relayed(polling);
		ready = look_at_one(polling);
		if (ready < 0)
			ready = look(polling);
		if (ready || (deadline_ns == 0 && !mask)) /* with a mask the kernel must look for signals */
			return ready;
		if (slept && deadline_ns != CLOCK_NEVER && clock_now_ns() >= deadline_ns)
			return 0;
		if (signal_came(mark))
			return -EINTR;
		if (!mask && polling->engines && spin_for_ready(polling, mark))
			continue;
		ready = sleep_until_ready(polling, deadline_ns, mask, mark);
		if (signal_came(mark) || ready == -EINTR) {
			ready = look(polling);
			return ready ? ready : -EINTR;
		}
		if (ready < 0)
			return ready;
	}
}

/* Cancelled in the call, or left by a handler's longjmp. */
static void polling_is_left(void *of)
{
	critical_enter();
	withdraw_sleeps(of);
	polling_end(of);
	critical_leave();
}

long poll_wait(struct pollfd *fds, unsigned long count, uint64_t deadline_ns, const sigset_t *mask)
{
	struct pollfd copies[3 * ON_STACK_MAX];
	struct polled sides[ON_STACK_MAX];
	struct polling polling = {.fds = copies, .sides = sides};
	struct _pthread_cleanup_buffer left;
	long ready;

	sleep_cancel_point();
	critical_enter();
	ready = polling_begin(&polling, fds, count);
	if (!ready)
		_pthread_cleanup_push(&left, polling_is_left, &polling);
	critical_leave();
	if (ready)
		return ready;
	ready = wait_loop(&polling, deadline_ns, mask);
	for (unsigned long i = 0; ready >= 0 && i < count; i++)
		fds[i].revents = polling.fds[i].revents;
	critical_enter();
	_pthread_cleanup_pop(&left, 0);
	polling_end(&polling);
	critical_leave();
	return ready;
}

/* -- select ---------------------------------------------------------------------------------------------------------------------- */

#define SELECT_READ (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define SELECT_WRITE (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define SELECT_ERROR POLLPRI

#define BITS 64
#define WORDS_AT_ONCE 16

/* A set may be larger than fd_set: as long as `count` says (select(2)). */
static int in_set(const fd_set *set, int fd)
{
	return set && ((const uint64_t *)(const void *)set)[fd / BITS] >> fd % BITS & 1;
}

/* 1: one of ours is in it; 0; or -1: it cannot be read. */
static int set_concerns_us(const fd_set *set, int count)
{
	uint64_t block[WORDS_AT_ONCE];

	for (int at = 0; at < count; at += WORDS_AT_ONCE * BITS) {
		int bits = count - at < WORDS_AT_ONCE * BITS ? count - at : WORDS_AT_ONCE * BITS;
		size_t words = ((size_t)bits + BITS - 1) / BITS;

		if (copy_guarded(block, (const uint64_t *)(const void *)set + at / BITS, words * sizeof(*block)))
			return -1;
		for (int i = 0; i < bits; i++)
			if (block[i / BITS] >> i % BITS & 1 && is_ours(at + i))
				return 1;
	}
	return 0;
}

int poll_select_concerns_us(int count, const fd_set *reads, const fd_set *writes, const fd_set *errors)
{
	const fd_set *sets[3] = {reads, writes, errors};
	int concerned = 0;

	if (count > DESCRIPTORS_MAX || unlikely(thread.vforked))
		return 0;
	for (int i = 0; i < 3; i++) {
		int one = sets[i] ? set_concerns_us(sets[i], count) : 0;

		if (one < 0) /* let the kernel say EFAULT */
			return 0;
		concerned |= one;
	}
	return concerned;
}

static unsigned long select_to_poll(int count, const fd_set *reads, const fd_set *writes, const fd_set *errors,
                                    struct pollfd *fds)
{
	unsigned long used = 0;

	for (int fd = 0; fd < count; fd++) {
		short events =
			(short)((in_set(reads, fd) ? POLLIN | POLLRDNORM | POLLRDBAND : 0) |
			        (in_set(writes, fd) ? POLLOUT | POLLWRNORM | POLLWRBAND : 0) | (in_set(errors, fd) ? POLLPRI : 0));

		if (events)
			fds[used++] = (struct pollfd){.fd = fd, .events = events};
	}
	return used;
}

static long put_bit(fd_set *set, int fd, int ready)
{
	if (!in_set(set, fd))
		return 0;
	if (ready)
		return 1;
	((uint64_t *)(void *)set)[fd / BITS] &= ~(1ull << fd % BITS);
	return 0;
}

static long select_by(struct pollfd *fds, int count, fd_set *reads, fd_set *writes, fd_set *errors,
                      uint64_t deadline_ns, const sigset_t *mask)
{
	unsigned long used = select_to_poll(count, reads, writes, errors, fds);
	long ready = poll_wait(fds, used, deadline_ns, mask);
	long bits = 0;

	if (ready < 0)
		return ready;
	for (unsigned long i = 0; i < used; i++)
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
	for (unsigned long i = 0; i < used; i++) {
		bits += put_bit(reads, fds[i].fd, fds[i].revents & SELECT_READ);
		bits += put_bit(writes, fds[i].fd, fds[i].revents & SELECT_WRITE);
		bits += put_bit(errors, fds[i].fd, fds[i].revents & SELECT_ERROR);
	}
	return bits;
}

/* Cancelled in the call, or left by a handler's longjmp. */
static void large_select_is_left(void *of)
{
	struct pollfd **fds = of;

	critical_enter();
	*fds = memory_release(*fds, DESCRIPTORS_MAX * sizeof(**fds));
	critical_leave();
}

/* Apart: a set that is larger than fd_set has memory of its own. */
__attribute__((noinline)) static long select_large(int count, fd_set *reads, fd_set *writes, fd_set *errors,
                                                   uint64_t deadline_ns, const sigset_t *mask)
{
	struct _pthread_cleanup_buffer left;
	struct pollfd *fds;
	long bits;

	critical_enter();
	fds = memory_private(DESCRIPTORS_MAX * sizeof(*fds));
	_pthread_cleanup_push(&left, large_select_is_left, &fds);
	critical_leave();
	bits = !fds ? -ENOMEM : select_by(fds, count, reads, writes, errors, deadline_ns, mask);
	_pthread_cleanup_pop(&left, 1);
	return bits;
}

__attribute__((noinline)) static long select_small(int count, fd_set *reads, fd_set *writes, fd_set *errors,
                                                   uint64_t deadline_ns, const sigset_t *mask)
{
	struct pollfd fds[FD_SETSIZE];

	return select_by(fds, count, reads, writes, errors, deadline_ns, mask);
}

long poll_select(int count, fd_set *reads, fd_set *writes, fd_set *errors, uint64_t deadline_ns, const sigset_t *mask)
{
	return count > FD_SETSIZE ? select_large(count, reads, writes, errors, deadline_ns, mask)
	                          : select_small(count, reads, writes, errors, deadline_ns, mask);
}
