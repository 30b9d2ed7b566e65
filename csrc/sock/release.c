/* Giving a socket back to the kernel, for good. */
#include <errno.h>

#include "base/log.h"
#include "base/sys.h"
#include "sock/sock.h"

#define ASK_AGAIN_NS 200000
#define ASKS_OF_CLOSED_MAX 50 /* a sender that has closed can do nothing any more */

void sock_never(struct sock *sock, int fd, enum reason reason)
{
	uint32_t state = exchange(&sock->shared->state, SHM_SOCKET_NEVER);

	if (state != SHM_SOCKET_NEVER) {
		store_release(&sock->shared->reason, (uint32_t)reason);
		log_line(LOG_WHY, "descriptor %d goes back to the kernel: %s", fd, arena_reason_text(reason));
	}
	if (sock_is_engine(sock))
		local_to_kernel(&sock->end, 1, 1);
}

int sock_into_kernel(struct sock *sock, int fd, enum reason reason)
{
	uint32_t arrivals = thread.arrivals;
	struct timespec pause = {0, ASK_AGAIN_NS};

	sock_never(sock, fd, reason);
	if (!sock_is_engine(sock))
		return 0;
	for (int asked = 0; !local_rx_is_kernel(&sock->end); asked++) {
		if (!pair_peer_lives(sock->end.pair) || (load_acquire(&sock->end.rx->closed) && asked == ASKS_OF_CLOSED_MAX)) {
			log_line(LOG_ALWAYS, "descriptor %d: %llu bytes stay behind in a ring whose sender is gone", fd,
			         (unsigned long long)local_ring_unread(&sock->end));
			return 0;
		}
		if (local_hand_back(&sock->end, fd))
			continue;
		local_request_resend(&sock->end);
		if (thread.arrivals != arrivals)
			return -EINTR;
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
	}
	return 0;
}
