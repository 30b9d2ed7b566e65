/* Life of a socket in this process: slot, descriptors, gate, close, exit, fork. */
#include "sock/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/sys.h"

#define DRAIN_US 30 /* longer than a plain call that does not sleep */

struct sock *socks;
struct sock_hooks sock_hooks;

static struct spinlock fork_lock; /* held while ENGINE is set, and over fork: a child sees either state whole */

int sock_start(void)
{
	socks = memory_private(SHM_SOCKETS_MAX * sizeof(*socks));
	return socks ? pair_table_make() : -ENOMEM;
}

void sock_stop(void)
{
	socks = memory_release(socks, SHM_SOCKETS_MAX * sizeof(*socks));
	pair_table_release();
}

static int socket_int(int fd, int name)
{
	int value = -1;
	unsigned bytes = sizeof(value);

	return sys_getsockopt(fd, SOL_SOCKET, name, &value, &bytes) ? -1 : value;
}

int sock_fd_is_tcp(int fd)
{
	int domain = socket_int(fd, SO_DOMAIN);

	return (domain == AF_INET || domain == AF_INET6) && socket_int(fd, SO_PROTOCOL) == IPPROTO_TCP;
}

struct sock *sock_found(uint32_t index)
{
	struct sock *sock = &socks[index];

	memset(sock, 0, sizeof(*sock));
	sock->shared = &arena->sockets[index];
	sock->end.socket = sock->shared;
	sock->meeting.fd = sock->meeting.connection = -1;
	return sock;
}

struct sock *sock_new(int fd, uint32_t flags)
{
	uint32_t index = fd > 2 ? arena_socket_new() : ARENA_NONE;
	struct sock *sock;

	if (index == ARENA_NONE)
		return NULL;
	sock = sock_found(index);
	sock->shared->descriptor = (uint32_t)fd;
	sock->shared->flags = flags;
	sock->descriptors = 1;
	descriptor_set(fd, DESCRIPTOR_SOCKET, index);
	return sock;
}

void sock_recognise(int fd)
{
	uint64_t cookie;

	if (!arena || fd < 0 || descriptor_entry(fd) || !sock_fd_is_tcp(fd))
		return;
	cookie = diag_cookie(fd);
	for (uint32_t i = 0; cookie && i < load_acquire(&arena->socket_high); i++)
		if (arena->sockets[i].cookie == cookie && arena_socket_holds(i, arena_process)) {
			sock_add_descriptor(&socks[i], fd);
			return;
		}
}

int sock_any_descriptor(const struct sock *sock)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd) == sock)
			return fd;
	return -1;
}

void sock_add_descriptor(struct sock *sock, int fd)
{
	fetch_add(&sock->descriptors, 1);
	descriptor_set(fd, DESCRIPTOR_SOCKET, sock_index(sock));
	if (fd <= 2)
		sock_into_kernel(sock, fd, reason_stdio);
}

/* -- the gate ---------------------------------------------------------------------------------------------------------- */

/* Attached by the process we were forked from. Where that one has closed it, it is ours; else both use the kernel. */
static void forked_use(struct sock *sock, int fd)
{
	sock_never(sock, fd, reason_shared); /* first: another thread that finds FORKED cleared may send at once */
	fetch_and(&sock->gate, ~GATE_FORKED);
}

int sock_enter_slow(struct sock *sock, int fd)
{
	uint32_t gate = load_acquire(&sock->gate);

	do {
		if (gate & GATE_ENGINE) {
			if (gate & GATE_FORKED)
				forked_use(sock, fd);
			return 1;
		}
		while (unlikely(gate & GATE_DRAIN)) {
			cpu_pause();
			gate = load_acquire(&sock->gate);
		}
		if (gate & GATE_ENGINE)
			continue;
	} while (gate & GATE_ENGINE || !compare_swap(&sock->gate, &gate, gate + 1));
	return 0;
}

void sock_leave(struct sock *sock)
{
	__atomic_fetch_sub(&sock->gate, 1, __ATOMIC_SEQ_CST);
}

/* -- close ------------------------------------------------------------------------------------------------------------- */

/* The dead do not clear their bits. */
int sock_is_sole_holder(const struct sock *sock)
{
	if (arena_process == ARENA_NONE)
		return 0;
	if (arena_socket_is_sole_holder(sock_index(sock)))
		return 1;
	for (uint32_t p = 0; p < SHM_PROCESSES_MAX; p++)
		if (p != arena_process && arena_socket_holds(sock_index(sock), p) && !arena_process_is_gone(p))
			return 0;
	return 1;
}

static void account(struct sock *sock)
{
	count(counter_ring_sent_bytes, sock->shared->last_ring_sent_bytes);
	count(counter_ring_received_bytes, sock->shared->last_ring_received_bytes);
	sock->shared->ring_sent_bytes += sock->shared->last_ring_sent_bytes;
	sock->shared->ring_received_bytes += sock->shared->last_ring_received_bytes;
	sock->shared->last_ring_sent_bytes = 0;
	sock->shared->last_ring_received_bytes = 0;
}

/* A forked child that has not used the socket leaves it to the others who hold it; the last of all ends it. */
static int is_ours_to_end(struct sock *sock, int sole)
{
	return sock_is_engine(sock) && (sole || !(load_acquire(&sock->gate) & GATE_FORKED));
}

void sock_last_close(struct sock *sock, int fd)
{
	int sole = sock_is_sole_holder(sock);

	/* Sets go on showing what is unread (epoll(7)), and only the kernel knows then. */
	if (!sole && sock_is_engine(sock) && load_relaxed(&sock->first_item))
		sock_hand_back(sock, fd, reason_shared);
	if (sock_hooks.ends)
		sock_hooks.ends(sock, !sole || load_relaxed(&sock->shared->state) == SHM_SOCKET_NEVER);
	if (is_ours_to_end(sock, sole))
		local_close(&sock->end, fd, sole);
}

int sock_close_begin(struct sock *sock, int fd)
{
	int last = !__atomic_sub_fetch(&sock->descriptors, 1, __ATOMIC_SEQ_CST);
	int kept = last && sock_keep(sock, fd);

	if (!last && load_relaxed(&sock->first_item) && sock_hooks.descriptor_closes)
		sock_hooks.descriptor_closes(sock, fd);
	descriptor_set(fd, DESCRIPTOR_UNKNOWN, 0);
	if (!last || kept)
		return 0;
	sock_last_close(sock, fd);
	return 1;
}

/* The channel is left by the last who holds the socket: a forked child or a relay may still read the ring. */
static void leave_slot_and_channel(struct sock *sock)
{
	struct pair *pair = sock->end.pair;
	uint32_t channel = sock->end.channel;
	int last = sock_is_sole_holder(sock);

	pair->sockets[channel] = 0;
	last |= arena_socket_leave(sock_index(sock));
	if (last)
		pair_channel_leave(pair, channel);
	pair_release(pair);
}

void sock_closed(struct sock *sock)
{
	if (sock->stage == STAGE_OFFERED || sock->stage == STAGE_JOINED)
		meet_abandon(&sock->meeting, &sock->end);
	if (!sock_is_engine(sock)) {
		arena_socket_leave(sock_index(sock));
		return;
	}
	if (!(load_acquire(&sock->gate) & GATE_FORKED))
		account(sock);
	leave_slot_and_channel(sock);
}

void sock_relayed(struct sock *sock)
{
	if (sock_hooks.ends)
		sock_hooks.ends(sock, 0);
	sock->descriptors = 0;
	leave_slot_and_channel(sock);
}

static void exits(struct sock *sock, int fd)
{
	int sole = sock_is_sole_holder(sock);

	if (!is_ours_to_end(sock, sole))
		return;
	local_close(&sock->end, fd, sole);
	account(sock);
}

void sock_all_exit(void)
{
	if (!arena_is_of_this_process()) /* made by a clone that we do not see: these are its parent's */
		return;
	for (int fd = 0; fd <= descriptor_highest(); fd++) {
		struct sock *sock = sock_of(fd);

		if (sock)
			exits(sock, fd);
	}
	sock_kept_each(exits);
}

/* -- exec ---------------------------------------------------------------------------------------------------------------- */

void sock_exec_closes(struct sock *sock, int fd)
{
	if ((load_acquire(&sock->gate) & (GATE_ENGINE | GATE_FORKED)) != GATE_ENGINE || sock->closing)
		return;
	sock->closing = 1 + (uint32_t)local_exec_closes(&sock->end, fd, sock_is_sole_holder(sock), &sock->linger);
}

void sock_not_closed(struct sock *sock, int fd)
{
	if (!sock->closing)
		return;
	local_exec_did_not_close(&sock->end, fd, sock->closing == 2 ? &sock->linger : NULL);
	sock->closing = 0;
	sock_never(sock, fd, reason_inherited);
}

void sock_hold_still(void)
{
	spinlock_acquire(&fork_lock);
}

void sock_go_on(void)
{
	spinlock_release(&fork_lock);
}

/* -- fork ---------------------------------------------------------------------------------------------------------------- */

void sock_fork_prepare(void)
{
	spinlock_acquire(&fork_lock);
	pair_all_forked();
}

void sock_fork_parent(void)
{
	spinlock_release(&fork_lock);
}

static void child_forgets_attaching(struct sock *sock)
{
	sock->waiters = 0;
	if (load_relaxed(&sock->gate) & GATE_ENGINE) {
		sock->gate = GATE_ENGINE | GATE_FORKED;
		return;
	}
	sock->gate = 0;
	sock->attach_busy = 0;
	descriptor_own_close(sock->meeting.fd);
	descriptor_own_close(sock->meeting.connection);
	sock->meeting.fd = sock->meeting.connection = -1;
	sock->end.pair = NULL;
	sock->stage = STAGE_NEW;
	sock->turns = 0;
	sock->last_call = SOCK_CALL_NONE;
}

void sock_fork_child(void)
{
	fork_lock.held = 0;
	thread.critical = 0;
	pair_all_inherited();
	meet_fork_child();
	sock_kept_fork_child();
	for (int fd = 0; fd <= descriptor_highest(); fd++) {
		struct sock *sock = sock_of(fd);

		if (sock)
			child_forgets_attaching(sock);
	}
}

/* -- flags ----------------------------------------------------------------------------------------------------------------- */

int sock_is_nonblocking(struct sock *sock, int fd)
{
	uint32_t flags = load_acquire(&sock->shared->flags);
	long kernel;

	if (likely(flags & SOCK_NONBLOCK_KNOWN))
		return (flags & SOCK_NONBLOCKING) != 0;
	kernel = sys_fcntl(fd, F_GETFL, 0);
	sock_set_nonblocking(sock, kernel > 0 && kernel & O_NONBLOCK);
	return kernel > 0 && kernel & O_NONBLOCK;
}

void sock_set_nonblocking(struct sock *sock, int nonblocking)
{
	if (nonblocking)
		fetch_or(&sock->shared->flags, SOCK_NONBLOCK_KNOWN | SOCK_NONBLOCKING);
	else {
		fetch_and(&sock->shared->flags, ~(uint32_t)SOCK_NONBLOCKING);
		fetch_or(&sock->shared->flags, SOCK_NONBLOCK_KNOWN);
	}
}

int sock_engine_set(struct sock *sock)
{
	uint64_t start = cpu_ticks();
	uint32_t idle;
	int done = 0;

	if (!spinlock_try(&fork_lock)) /* a thread that forks may wait for what the program holds in this one */
		return 0;
	fetch_or(&sock->gate, GATE_DRAIN);
	if (arena_socket_is_sole_holder(sock_index(sock)))
		do {
			idle = GATE_DRAIN;
			if (load_acquire(&sock->shared->flags) & SOCK_SHUT)
				break;
			done = compare_swap(&sock->gate, &idle, GATE_ENGINE);
			cpu_pause();
		} while (!done && cpu_ticks() - start < clock_ticks_of_us(DRAIN_US));
	if (!done)
		fetch_and(&sock->gate, ~GATE_DRAIN);
	spinlock_release(&fork_lock);
	return done;
}
