/* A socket that one thread closes while another sleeps in a call on it lives on until that call ends, as in Linux, where the
 * call holds the file. Here a descriptor of our own holds it: made by who closes, closed by the last such call.
 *
 * waiters: calls that sleep on the socket, and, once WAITERS_KEPT is set, those that held it then and have not ended.
 * Called by wait/block.c and sock.c; no lock. */
#include <errno.h>

#include "base/sys.h"
#include "sock/sock.h"

#define WAITERS_KEPT 0x80000000u

static uint32_t kept_count;

void sock_sleep_begins(struct sock *sock)
{
	fetch_add(&sock->waiters, 1);
}

int sock_sleep_ends(struct sock *sock)
{
	uint32_t waiters = load_acquire(&sock->waiters);

	do {
		if (waiters & WAITERS_KEPT)
			return 1;
		if (!waiters) /* closed before the sleep began, and the slot is somebody else's now */
			return 0;
	} while (!compare_swap(&sock->waiters, &waiters, waiters - 1));
	return 0;
}

int sock_keep(struct sock *sock, int fd)
{
	uint32_t waiters = load_acquire(&sock->waiters);
	int kept;

	if (likely(!waiters))
		return 0;
	kept = descriptor_own(sys_fcntl(fd, F_DUPFD_CLOEXEC, 0));
	if (kept < 0)
		return 0;
	sock->kept_fd = kept;
	do {
		if (waiters)
			continue;
		descriptor_own_close(kept);
		return 0;
	} while (!compare_swap(&sock->waiters, &waiters, waiters | WAITERS_KEPT));
	fetch_add(&kept_count, 1);
	return 1;
}

void sock_kept_call_ends(struct sock *sock)
{
	uint32_t left = __atomic_sub_fetch(&sock->waiters, 1, __ATOMIC_SEQ_CST);
	int fd = sock->kept_fd;

	if (left != WAITERS_KEPT)
		return;
	__atomic_fetch_sub(&kept_count, 1, __ATOMIC_RELAXED);
	sock_last_close(sock, fd);
	descriptor_own_close(fd);
	sock_closed(sock);
}

void sock_kept_each(void (*act)(struct sock *sock, int fd))
{
	for (uint32_t i = 0; load_relaxed(&kept_count) && i < load_acquire(&arena->socket_high); i++)
		if (load_acquire(&socks[i].waiters) & WAITERS_KEPT)
			act(&socks[i], socks[i].kept_fd);
}

static void child_forgets(struct sock *sock, int fd)
{
	descriptor_own_close(fd);
	sock->waiters = 0;
}

void sock_kept_fork_child(void)
{
	sock_kept_each(child_forgets);
	kept_count = 0;
}
