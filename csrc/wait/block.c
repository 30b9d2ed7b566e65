/* Waits until a receive or send can go on: spin, then sleep on a bell and the kernel socket (section 5), or, without a
 * bell, on the kernel socket alone with the ring revoked. */
#include "wait/block.h"

#include <errno.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/sys.h"
#include "sock/option.h"
#include "wait/sleep.h"
#include "wait/spin.h"

#define NAP_NS 500000

struct wait {
	uint64_t deadline_ns; /* CLOCK_NEVER: none */
	struct signal_mark mark;
	int has_timeout;
	int begun;
	int nap;     /* sleep for a moment, not until something is there */
	int handled; /* a handler with SA_RESTART has run */
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

/* 1: something changed; 0: go to sleep. */
static int spin_for_change(struct sock *sock, uint64_t seen, struct signal_mark mark)
{
	struct spin spin;

	if (!(load_relaxed(&sock->end.rx->changes_taken) & 1))
		return 0;
	spin_begin(&spin);
	while (spin_turn(&spin)) {
		if (local_rx_mark(&sock->end) != seen || signal_came(mark)) {
			spin_won(&spin);
			return 1;
		}
		if (spin_should_ask(&spin, PAIR_ASK_US) && !local_peer_is_well(&sock->end))
			return 0;
	}
	spin_lost(&spin);
	return 0;
}

static int drain_bell(int fd)
{
	uint64_t rings;

	return (int)sys_read(fd, &rings, sizeof(rings));
}

static long sleep_with_bell(struct sock *sock, int fd, int bell, uint64_t seen, struct wait *wait)
{
	struct shm_direction *rx = sock->end.rx;
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN | POLLRDHUP},
	                        {.fd = sock->end.pair->bells[bell], .events = POLLIN}};
	long result = 0;

	fetch_or(&rx->sleep_mask, 1u << bell);
	CRASH_POINT(sleep_published);
	if (local_rx_mark(&sock->end) == seen) {
		count(counter_sleeps, 1);
		result = sleep_poll(fds, 2, wait->deadline_ns, NULL, wait->mark);
	}
	fetch_and(&rx->sleep_mask, ~(1u << bell));
	if (fds[1].revents)
		drain_bell(fds[1].fd);
	return result;
}

static long sleep_in_kernel(struct sock *sock, int fd, struct wait *wait)
{
	struct pollfd asked = {.fd = fd, .events = POLLIN | POLLRDHUP};
	long result = 0;

	if (!local_kernel_sleep_begins(&sock->end)) {
		count(counter_kernel_sleeps, 1);
		result = sleep_poll(&asked, 1, wait->deadline_ns, NULL, wait->mark);
	}
	local_kernel_sleep_ends(&sock->end);
	return result;
}

static int is_still(struct sock *sock, int fd)
{
	return sock_of(fd) == sock || load_acquire(&sock->end.relayed);
}

static long wait_result(struct sock *sock, int fd, struct wait *wait, long slept)
{
	if (!is_still(sock, fd))
		return -EBADF;
	if (signal_interrupts(wait->mark, wait->has_timeout))
		return -EINTR;
	wait->handled |= signal_came(wait->mark);
	wait->mark = signal_now(); /* SA_RESTART: the sleep goes on, unless bytes were moved already */
	if (slept == 0 && wait->deadline_ns != CLOCK_NEVER && clock_now_ns() >= wait->deadline_ns)
		return -EAGAIN;
	return 0;
}

/* 0: look again; -EINTR, -EAGAIN (timeout), -EBADF (closed under our hands). */
static long wait_readable(struct sock *sock, int fd, uint64_t seen, struct wait *wait)
{
	int bell;
	long slept;

	if (wait->nap) {
		sleep_poll(NULL, 0, clock_now_ns() + NAP_NS, NULL, wait->mark);
		return wait_result(sock, fd, wait, 0);
	}
	if (spin_for_change(sock, seen, wait->mark))
		return wait_result(sock, fd, wait, 1);
	bell = load_relaxed(&sock->shared->flags) & SOCK_RX_KERNEL ? -1
	                                                           : pair_bell_lease(sock->end.pair, (uint32_t)thread_id());
	if (bell >= 0) {
		slept = sleep_with_bell(sock, fd, bell, seen, wait);
		pair_bell_return(sock->end.pair, bell);
	} else {
		slept = sleep_in_kernel(sock, fd, wait);
	}
	local_service(&sock->end, fd);
	return wait_result(sock, fd, wait, slept);
}

static size_t receive_target(struct sock *sock, int fd, size_t wanted, int flags)
{
	size_t low_water = (size_t)option_receive_low_water(sock, fd);

	if (flags & MSG_WAITALL)
		return wanted;
	return low_water < wanted ? low_water : wanted;
}

static long recv_waiting(struct sock *sock, int fd, struct cursor *to, int flags)
{
	struct wait wait = {.mark = signal_now(), .begun = 0};
	struct cursor start = *to;
	size_t target = receive_target(sock, fd, to->left, flags);

	for (;;) {
		uint64_t seen = local_rx_mark(&sock->end);
		long received = local_recv(&sock->end, fd, to, flags);
		size_t done = start.left - to->left;
		long result;

		if (received >= 0 ? received == 0 || done >= target : received != -EAGAIN) {
			if (done)
				local_keep_error(&sock->end, received);
			return done ? (long)done : received;
		}
		if (received > 0 && !(flags & MSG_PEEK))
			continue;
		if (!wait.begun)
			wait_begin(&wait, sock, fd, SO_RCVTIMEO);
		if (received > 0) /* peeked bytes stay where they are: the kernel would wake us for them again and again */
			wait.nap = 1;
		result = wait_readable(sock, fd, seen, &wait);
		if (result || (done && wait.handled))
			return done ? (long)done : result;
		if (flags & MSG_PEEK)
			*to = start;
	}
}

long block_recv(struct sock *sock, int fd, struct cursor *to, int flags)
{
	if (flags & MSG_DONTWAIT || sock_is_nonblocking(sock, fd))
		return local_recv(&sock->end, fd, to, flags | MSG_DONTWAIT);
	return recv_waiting(sock, fd, to, flags);
}

/* Only the kernel carrier makes a sender wait, and the kernel wakes it. */
static long wait_writable(struct sock *sock, int fd, struct wait *wait)
{
	struct pollfd asked = {.fd = fd, .events = POLLOUT};
	long slept = sleep_poll(&asked, 1, wait->deadline_ns, NULL, wait->mark);

	return wait_result(sock, fd, wait, slept);
}

long block_send(struct sock *sock, int fd, struct cursor *from, int flags)
{
	struct wait wait = {.mark = signal_now(), .begun = 0};
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
		if (!wait.begun)
			wait_begin(&wait, sock, fd, SO_SNDTIMEO);
		result = wait_writable(sock, fd, &wait);
		if (result || (done && wait.handled))
			return done ? (long)done : result;
	}
}
