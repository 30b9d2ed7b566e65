/* Waits until a receive or send can go on: spin, then sleep on a bell and the kernel socket (section 5), or, without a
 * bell, on the kernel socket with the ring revoked. */
#include "wait/block.h"

#include <errno.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/critical.h"
#include "base/options.h"
#include "base/sys.h"
#include "local/offset.h"
#include "sock/option.h"
#include "wait/epoll.h"
#include "wait/sleep.h"
#include "wait/spin.h"

#define NAP_NS 500000
#define STREAM_WAITS 16 /* short ones in a row are a stream */
#define SHORT_WAIT_US 1
#define GATHER_BYTES_MAX 2048

struct wait {
	uint64_t deadline_ns; /* CLOCK_NEVER: none */
	struct signal_mark mark;
	int has_timeout;
	int begun;
	int ended;   /* after peeked bytes nothing more comes */
	int nap;     /* sleep for a moment, not until something is there */
	short events; /* of the kernel's socket, that end a sleep for bytes */
	int kept;    /* the socket was closed while we slept: sock_kept_call_ends must follow */
	int other;   /* … only the descriptor of the call was: another one of the socket, + 1 */
	int handled; /* a handler with SA_RESTART has run */
	/* What a sleep holds, and gives back also when it is left in the middle: noted and taken, and given back and forgotten,
	 * in one critical section, so that no handler can have it given back twice. */
	struct sock *held;
	int32_t thread; /* that sleeps: in a child that a handler forks, the sleep is its parent's */
	int asleep; /* sock_sleep_begins */
	int bell; /* leased, + 1; 0: none */
	int bare; /* sock_bare_sleep_begins gave one */
	int in_kernel; /* local_kernel_sleep_begins */
	struct _pthread_cleanup_buffer kept_left; /* while `kept` */
};

static void wait_begin(struct wait *wait, struct sock *sock, int fd, int option)
{
	uint64_t timeout_ns = UINT64_MAX;

	wait->begun = 1;
	if (load_relaxed(&sock->shared->flags) & SOCK_TIMEOUTS)
		timeout_ns = option_timeout_ns(fd, option);
	wait->has_timeout = timeout_ns != UINT64_MAX;
	wait->deadline_ns = wait->has_timeout ? clock_now_ns() + timeout_ns : CLOCK_NEVER;
}

/* A stream of small messages comes in one direction, faster than this thread spins: after it has emptied the ring it leaves
 * the tail alone for a moment, so that bytes gather. A look takes the line away from the sender, who then waits for it longer
 * than it takes to send several messages. */
static int is_stream(const struct local_end *end)
{
	return unlikely(load_relaxed(&end->short_waits) >= STREAM_WAITS);
}

static void gather(const struct local_end *end)
{
	uint64_t moment;

	if (!is_stream(end))
		return;
	moment = clock_ticks_per_us * (uint64_t)options.gather_ns / 1000;
	while (cpu_ticks() - load_relaxed(&end->emptied_ticks) < moment)
		cpu_pause();
}

static void note_receive(struct local_end *end, const struct cursor *to, long received)
{
	if (is_stream(end) && to->left && received > 0 && received < GATHER_BYTES_MAX)
		store_relaxed(&end->emptied_ticks, cpu_ticks());
}

/* By the spin's own last look at the clock: the bytes are there, and another look would keep them waiting. */
static void note_wait(struct local_end *end, const struct spin *spin)
{
	uint32_t before = load_relaxed(&end->short_waits);

	if (spin->last - spin->start > clock_ticks_of_us(SHORT_WAIT_US))
		store_relaxed(&end->short_waits, 0);
	else if (before < STREAM_WAITS)
		store_relaxed(&end->short_waits, before + 1);
}

/* 1: something changed; 0: go to sleep. */
static int spin_for_change(struct sock *sock, uint64_t seen, struct signal_mark mark)
{
	struct spin spin;

	if (!(load_relaxed(&sock->end.rx->changes_taken) & 1))
		return 0;
	spin_begin(&spin);
	while (spin_turn(&spin)) {
		if (local_rx_mark(&sock->end) != seen || signal_came(mark)) {
			local_fetch_ahead(&sock->end);
			note_wait(&sock->end, &spin);
			spin_won(&spin);
			return 1;
		}
		if (spin_should_ask(&spin, PAIR_ASK_US) && !local_peer_is_well(&sock->end))
			return 0;
	}
	store_relaxed(&sock->end.short_waits, 0);
	spin_lost(&spin);
	return 0;
}

/* Bytes in the ring that our receive did not find lie behind kernel bytes, and another thread may take those: its receive then
 * wakes us. The mark, then the look (epoll_has_received). */
static int ring_is_next(struct sock *sock, int fd)
{
	if (likely(!local_ring_unread(&sock->end)))
		return 0;
	exchange(&sock->behind, 1);
	return local_ring_readable(&sock->end, fd) != 0;
}

/* In a child that a handler has forked, what lies in shared memory is the parent's. */
static int sleeps_here(const struct wait *wait)
{
	return wait->thread == thread_id();
}

static void bell_give_back(struct wait *wait)
{
	int bell = wait->bell - 1;

	critical_enter();
	wait->bell = 0;
	if (bell >= 0 && sleeps_here(wait)) {
		fetch_and(&wait->held->end.rx->sleep_mask, ~(1u << bell));
		pair_bell_return(wait->held->end.pair, bell, (uintptr_t)wait);
	}
	critical_leave();
}

static void bare_give_back(struct wait *wait)
{
	critical_enter();
	if (wait->bare)
		sock_bare_sleep_ends(wait->held, 0);
	wait->bare = 0;
	critical_leave();
}

static void kernel_give_back(struct wait *wait)
{
	critical_enter();
	if (wait->in_kernel && sleeps_here(wait))
		local_kernel_sleep_ends(&wait->held->end);
	wait->in_kernel = 0;
	critical_leave();
}

static void kept_give_back(struct wait *wait)
{
	critical_enter();
	if (wait->kept)
		sock_kept_call_ends(wait->held);
	wait->kept = 0;
	critical_leave();
}

/* The bell to sleep on, or -1. */
static int bell_take(struct sock *sock, struct wait *wait)
{
	int bell = -1;

	critical_enter();
	if (!(load_relaxed(&sock->shared->flags) & SOCK_RX_KERNEL))
		bell = pair_bell_lease(sock->end.pair, (uintptr_t)wait);
	wait->bell = bell + 1;
	critical_leave();
	return bell;
}

static long sleep_with_bell(struct sock *sock, int fd, int bell, uint64_t seen, struct wait *wait)
{
	struct shm_direction *rx = sock->end.rx;
	struct pollfd fds[2] = {{.fd = fd, .events = wait->events}, {.fd = sock->end.pair->bells[bell], .events = POLLIN}};
	long result = 0;

	fetch_or(&rx->sleep_mask, 1u << bell);
	CRASH_POINT(sleep_published);
	if (local_rx_mark(&sock->end) == seen && !ring_is_next(sock, fd)) {
		count(counter_sleeps, 1);
		result = sleep_poll(fds, 2, wait->deadline_ns, NULL, wait->mark);
	}
	if (fds[1].revents)
		bell_empty(fds[1].fd);
	bell_give_back(wait);
	return result;
}

/* Nothing but the kernel wakes us, or a relay that takes the socket (sock/bare.c). */
static long sleep_bare(struct sock *sock, int fd, short events, struct wait *wait)
{
	struct pollfd fds[2] = {{.fd = fd, .events = events}, {.events = POLLIN}};
	long result;

	critical_enter();
	fds[1].fd = sock_bare_sleep_begins(sock);
	wait->bare = fds[1].fd >= 0;
	critical_leave();
	result = sleep_poll(fds, 2, wait->deadline_ns, NULL, wait->mark);
	bare_give_back(wait);
	return result;
}

static long sleep_in_kernel(struct sock *sock, int fd, struct wait *wait)
{
	long result = 0;
	int readable;

	critical_enter();
	wait->in_kernel = 1;
	readable = local_kernel_sleep_begins(&sock->end);
	critical_leave();
	if (!readable) {
		count(counter_kernel_sleeps, 1);
		result = sleep_bare(sock, fd, wait->events, wait);
	}
	kernel_give_back(wait);
	return result;
}

static int descriptor_now(struct sock *sock, int fd, const struct wait *wait)
{
	if (unlikely(wait->kept))
		return sock->kept_fd;
	return unlikely(wait->other) ? wait->other - 1 : fd;
}

/* Closed under our hands: while we slept the call holds the socket, before that it is gone. Where a relay has the socket,
 * the call goes on with the relay's connection. */
static int is_gone(struct sock *sock, int fd, const struct wait *wait)
{
	return !wait->kept && sock_of(descriptor_now(sock, fd, wait)) != sock && !local_is_relayed(&sock->end);
}

static long wait_result(struct sock *sock, int fd, struct wait *wait, long slept)
{
	if (is_gone(sock, fd, wait))
		return -EBADF;
	if (signal_interrupts(wait->mark, wait->has_timeout))
		return -EINTR;
	wait->handled |= signal_came(wait->mark);
	wait->mark = signal_now(); /* SA_RESTART: the sleep goes on, unless bytes were moved already */
	if (slept == 0 && wait->deadline_ns != CLOCK_NEVER && clock_now_ns() >= wait->deadline_ns)
		return -EAGAIN;
	return 0;
}

/* The socket is closed but for us: it stays until the call ends, also when that is left between two sleeps. */
static void kept_is_left(void *of)
{
	kept_give_back(of);
}

static void keep(struct wait *wait)
{
	wait->kept = 1;
	_pthread_cleanup_push(&wait->kept_left, kept_is_left, wait);
}

static void kept_call_ends(struct wait *wait)
{
	critical_enter();
	_pthread_cleanup_pop(&wait->kept_left, 0);
	kept_give_back(wait);
	critical_leave();
}

/* Cancelled in the sleep, or left by a handler's longjmp. */
static void sleep_is_left(void *of)
{
	struct wait *wait = of;

	critical_enter();
	bell_give_back(wait);
	bare_give_back(wait);
	kernel_give_back(wait);
	if (wait->asleep)
		wait->kept = sock_sleep_ends(wait->held);
	wait->asleep = 0;
	kept_give_back(wait);
	critical_leave();
}

typedef long sleeps(struct sock *sock, int fd, uint64_t seen, struct wait *wait);

/* A sleep during which the call holds the socket. */
static long sleep_holding(struct sock *sock, int fd, uint64_t seen, struct wait *wait, sleeps *sleep)
{
	struct _pthread_cleanup_buffer left;
	long slept = 0;

	wait->held = sock;
	critical_enter();
	wait->thread = thread_id();
	if (!wait->kept) {
		sock_sleep_begins(sock);
		wait->asleep = 1;
	}
	_pthread_cleanup_push(&left, sleep_is_left, wait);
	critical_leave();
	if (!is_gone(sock, fd, wait))
		slept = sleep(sock, fd, seen, wait);
	critical_enter();
	_pthread_cleanup_pop(&left, 0);
	if (unlikely(sock_of(fd) != sock) && !wait->kept) /* we still hold it: it is no other socket */
		wait->other = sock_any_descriptor(sock) + 1;
	if (wait->asleep && sock_sleep_ends(sock))
		keep(wait);
	wait->asleep = 0;
	critical_leave();
	return slept;
}

static long sleep_until_readable(struct sock *sock, int fd, uint64_t seen, struct wait *wait)
{
	int bell;
	long slept;

	if (wait->nap) {
		sleep_poll(NULL, 0, clock_now_ns() + NAP_NS, NULL, wait->mark);
		return 0;
	}
	bell = bell_take(sock, wait);
	slept = bell >= 0 ? sleep_with_bell(sock, fd, bell, seen, wait) : sleep_in_kernel(sock, fd, wait);
	local_service(&sock->end, fd);
	return slept;
}

/* 0: look again; -EINTR, -EAGAIN (timeout), -EBADF (closed under our hands). */
static long wait_readable(struct sock *sock, int fd, uint64_t seen, struct wait *wait)
{
	if (!wait->nap && spin_for_change(sock, seen, wait->mark))
		return wait_result(sock, fd, wait, 1);
	return wait_result(sock, fd, wait, sleep_holding(sock, fd, seen, wait, sleep_until_readable));
}

/* Whether nothing more can come. Asked before the bytes are looked at. */
static int has_ended(struct sock *sock, int fd)
{
	struct pollfd asked = {.fd = fd, .events = POLLRDHUP};

	local_check_end(&sock->end, fd);
	return load_relaxed(&sock->shared->pending_error) ||
	       (sys_poll(&asked, 1, 0) == 1 && asked.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static size_t receive_target(struct sock *sock, int fd, size_t wanted, int flags)
{
	size_t low_water = (size_t)option_receive_low_water(sock, fd);

	if (flags & MSG_WAITALL)
		return wanted;
	return low_water < wanted ? low_water : wanted;
}

/* Linux wakes who sleeps in a receive when as much as SO_RCVLOWAT is there, also where the call wants less. */
static long wait_low_water(struct sock *sock, int fd, struct wait *wait)
{
	int nap = wait->nap;
	long result = 0;

	wait->nap = 1;
	while (!result && !has_ended(sock, fd) && (local_ring_unread(&sock->end) || offset_waiting(fd) > 0) &&
	       !epoll_has_low_water(sock, fd) && !offset_has_urgent(fd)) {
		result = wait_readable(sock, fd, 0, wait);
		fd = descriptor_now(sock, fd, wait);
	}
	wait->nap = nap;
	return result;
}

/* What is there, and the word to those who wait for their turn behind it. */
static long receive_now(struct sock *sock, int fd, struct cursor *to, int flags)
{
	long received;

	critical_enter();
	received = local_recv(&sock->end, fd, to, flags);
	epoll_has_received(sock);
	critical_leave();
	return received;
}

static long recv_until_done(struct sock *sock, int fd, struct cursor *to, int flags, struct wait *wait)
{
	struct cursor start = *to;
	size_t target = receive_target(sock, fd, to->left, flags);

	gather(&sock->end);
	for (;;) {
		uint64_t seen = local_rx_mark(&sock->end);
		long received = receive_now(sock, fd, to, flags);
		size_t done = start.left - to->left;
		long result;

		note_receive(&sock->end, to, received);
		if (received >= 0 ? received == 0 || done >= target : received != -EAGAIN) {
			if (done)
				local_keep_error(&sock->end, received);
			return done ? (long)done : received;
		}
		if (done && (flags & MSG_PEEK ? local_peek_meets_mark(&sock->end, fd, done) : local_is_at_mark(&sock->end, fd)))
			return (long)done; /* a receive that has something does not pass urgent data */
		if (received > 0 && !(flags & MSG_PEEK))
			continue;
		if (!wait->begun)
			wait_begin(wait, sock, fd, SO_RCVTIMEO);
		/* Urgent data ends a receive that has some bytes, and one that has none passes it; a peek does not. */
		wait->events = (short)(POLLIN | POLLRDHUP | (done || !(flags & MSG_PEEK) ? POLLPRI : 0));
		if (wait->ended) /* fewer than asked for, and no more will come */
			return received;
		if (received > 0) { /* peeked bytes stay where they are: the kernel would wake us for them again and again */
			wait->nap = 1;
			wait->ended = has_ended(sock, fd);
		}
		result = wait_readable(sock, fd, seen, wait);
		fd = descriptor_now(sock, fd, wait);
		if (!result && unlikely(load_relaxed(&sock->shared->flags) & SOCK_LOWAT))
			result = wait_low_water(sock, fd, wait);
		fd = descriptor_now(sock, fd, wait);
		if (result || (done && wait->handled))
			return done ? (long)done : result;
		if (done && !(flags & MSG_PEEK) && local_is_at_mark(&sock->end, fd)) /* a receive without bytes would pass it */
			return (long)done;
		if (flags & MSG_PEEK)
			*to = start;
	}
}

static long recv_waiting(struct sock *sock, int fd, struct cursor *to, int flags)
{
	struct wait wait = {.mark = signal_now(), .begun = 0};
	long result = recv_until_done(sock, fd, to, flags, &wait);

	if (unlikely(wait.kept))
		kept_call_ends(&wait);
	return result;
}

long block_recv(struct sock *sock, int fd, struct cursor *to, int flags)
{
	if (!(flags & MSG_DONTWAIT) && !sock_is_nonblocking(sock, fd))
		return recv_waiting(sock, fd, to, flags);
	return receive_now(sock, fd, to, flags | MSG_DONTWAIT);
}

/* Only the kernel carrier makes a sender wait, and the kernel wakes it. */
static long sleep_until_writable(struct sock *sock, int fd, uint64_t seen, struct wait *wait)
{
	(void)seen; /* the form of a sleep; the kernel alone wakes this one */
	return sleep_bare(sock, fd, POLLOUT, wait);
}

static long wait_writable(struct sock *sock, int fd, struct wait *wait)
{
	return wait_result(sock, fd, wait, sleep_holding(sock, fd, 0, wait, sleep_until_writable));
}

static long send_until_done(struct sock *sock, int fd, struct cursor *from, int flags, struct wait *wait)
{
	size_t wanted = from->left;

	for (;;) {
		long sent = local_send(&sock->end, fd, from, flags);
		size_t done = wanted - from->left;
		long result;

		if (!from->left || (sent < 0 && sent != -EAGAIN)) {
			if (done)
				local_keep_error(&sock->end, sent);
			return done ? (long)done : sent;
		}
		if (flags & MSG_DONTWAIT || sock_is_nonblocking(sock, fd))
			return done ? (long)done : -EAGAIN;
		if (!wait->begun)
			wait_begin(wait, sock, fd, SO_SNDTIMEO);
		result = wait_writable(sock, fd, wait);
		fd = descriptor_now(sock, fd, wait);
		if (result || (done && wait->handled))
			return done ? (long)done : result;
	}
}

long block_send(struct sock *sock, int fd, struct cursor *from, int flags)
{
	struct wait wait = {.mark = signal_now(), .begun = 0};
	long result = send_until_done(sock, fd, from, flags, &wait);

	if (unlikely(wait.kept))
		kept_call_ends(&wait);
	return result;
}
