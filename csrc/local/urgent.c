/* Urgent data behind a ring (section 3). When a second urgent byte comes, the receiver's kernel makes the first an ordinary
 * one; but it throws the first away where that is the next byte to be read: the program has had its chance. Where bytes are
 * unread in the ring, that is not so, and the kernel does not know. So the receiver's socket is told, by a copy of it
 * (pidfd_getfd(2)), that its urgent data is in line while the second one arrives. Where the system does not allow the
 * copy, the second byte goes as an ordinary one, and nothing is lost but its mark.
 * Called by send.c for MSG_OOB. Lock: the writer's. */
#include "base/clock.h"
#include "base/sys.h"
#include "local/end.h"
#include "local/offset.h"

#define ARRIVAL_PAUSE_NS 20000
#define ARRIVAL_WAITS_MAX 500 /* 10 ms: nobody waits for a receiver whose buffer is full */

static int set_inline(int fd, int on)
{
	return (int)sys_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

static int is_inline(int fd)
{
	int on = 0;
	unsigned bytes = sizeof(on);

	return !sys_getsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, &bytes) && on;
}

/* Loopback delivers before send(2) returns, as a rule. */
static void await_arrival(int fd, int peer)
{
	struct timespec pause = {0, ARRIVAL_PAUSE_NS};
	uint64_t sent, arrived;

	for (int waits = 0; waits < ARRIVAL_WAITS_MAX; waits++) {
		if (offset_sent(fd, &sent) || offset_arrived(peer, &arrived) || arrived >= sent)
			return;
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
	}
}

static long send_in_line(struct local_end *end, int fd, struct cursor *from, int flags)
{
	int peer = local_peer_socket(end);
	long sent;

	if (peer < 0)
		return local_kernel_send(fd, from, flags & ~MSG_OOB);
	if (is_inline(peer) || set_inline(peer, 1)) {
		sent = local_kernel_send(fd, from, flags);
	} else {
		sent = local_kernel_send(fd, from, flags);
		await_arrival(fd, peer);
		set_inline(peer, 0);
	}
	sys_close(peer);
	return sent;
}

long local_send_urgent(struct local_end *end, int fd, struct cursor *from, int flags)
{
	if (fetch_or(&end->socket->flags, SOCK_URGENT_SENT) & SOCK_URGENT_SENT && local_peer_has_unread(end))
		return send_in_line(end, fd, from, flags);
	return local_kernel_send(fd, from, flags);
}
