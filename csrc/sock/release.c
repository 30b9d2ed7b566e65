/* Giving a socket back to the kernel, for good. */
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "sock/relay.h"

#define ASK_AGAIN_NS 200000
#define PATIENCE_NS 50000000u         /* the sender may be asked to do it */
#define PATIENCE_OF_CLOSED_NS 10000000u /* a sender that has closed can do nothing any more */
#define PATIENCE_WITHOUT_RELAY_NS 5000000000u

void sock_never(struct sock *sock, int fd, enum reason reason)
{
	uint32_t state = exchange(&sock->shared->state, SHM_SOCKET_NEVER);

	if (state != SHM_SOCKET_NEVER) {
		store_release(&sock->shared->reason, (uint32_t)reason);
		log_line(LOG_WHY, "descriptor %d goes back to the kernel: %s", fd, arena_reason_text(reason));
	}
	if (sock_is_engine(sock))
		local_to_kernel(&sock->end, fd);
}

static int sender_has_ended(struct sock *sock)
{
	return !pair_peer_lives(sock->end.pair) || load_acquire(&sock->end.rx->closed);
}

/* 1: every unread byte is in the kernel; 0: not by `deadline_ns`, or not any more. */
static int hand_back_until(struct sock *sock, int fd, uint64_t deadline_ns)
{
	struct timespec pause = {0, ASK_AGAIN_NS};
	uint64_t now = clock_now_ns();
	uint64_t end_ns = now + PATIENCE_OF_CLOSED_NS;

	while (!local_rx_is_kernel(&sock->end)) {
		if (now >= deadline_ns || (sender_has_ended(sock) && now >= end_ns) || local_takes_no_more(&sock->end))
			return 0;
		if (local_hand_back(&sock->end, fd))
			continue;
		local_request_resend(&sock->end);
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
		now = clock_now_ns();
	}
	return 1;
}

/* Epoll sets of the program may have shown it already what the kernel is about to get. 0: the kernel has it all. */
static int kernel_gets(struct sock *sock)
{
	if (!sock_is_engine(sock) || local_rx_is_kernel(&sock->end))
		return 0;
	if (load_relaxed(&sock->first_item) && sock_hooks.kernel_gets)
		sock_hooks.kernel_gets(sock);
	return 1;
}

static void kernel_has(struct sock *sock)
{
	if (load_relaxed(&sock->first_item) && sock_hooks.kernel_has)
		sock_hooks.kernel_has(sock);
}

int sock_hand_back(struct sock *sock, int fd, enum reason reason)
{
	int done;

	sock_never(sock, fd, reason);
	if (!kernel_gets(sock))
		return 1;
	done = hand_back_until(sock, fd, clock_now_ns() + PATIENCE_NS);
	kernel_has(sock);
	return done;
}

/* The reset by a peer that died with our bytes unread in its ring: the kernel knows of an end only. */
static int has_error_to_tell(struct sock *sock, int fd)
{
	if (!sock_is_engine(sock) || local_is_relayed(&sock->end))
		return 0;
	local_check_end(&sock->end, fd);
	return load_acquire(&sock->shared->pending_error) != 0;
}

void sock_into_kernel(struct sock *sock, int fd, enum reason reason)
{
	struct sock *fresh;
	int done, error;

	if (thread.vforked && diag_cookie(fd) != load_relaxed(&sock->shared->cookie)) /* replaced already, or another's */
		return;
	sock_never(sock, fd, reason);
	done = !kernel_gets(sock) || hand_back_until(sock, fd, clock_now_ns() + PATIENCE_NS);
	error = done && !has_error_to_tell(sock, fd) ? 0 : relay_make(sock, fd);
	if (error && hand_back_until(sock, fd, clock_now_ns() + PATIENCE_WITHOUT_RELAY_NS))
		error = 0;
	fresh = sock_of(fd); /* behind a relay it is another */
	if (fresh)
		kernel_has(fresh);
	if (!error)
		return;
	log_line(LOG_ALWAYS, "descriptor %d: %llu bytes stay behind in a ring, and no relay can be made (errno %d)", fd,
	         (unsigned long long)local_ring_unread(&sock->end), -error);
}
