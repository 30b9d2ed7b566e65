/* Makes the relay's process and puts its connection in the place of the old socket's descriptors.
 *
 * The relay is a forked process of the family with a slot of its own, which holds this one socket. It is no child that the
 * program could see: its parent, a process of a moment, is forked without a signal of its end and reaped here.
 * The lock of the epoll sets and both locks of the socket are held from the fork until the descriptors are replaced: no thread
 * is in the middle of a step with the old descriptor, and the relay gets our private side of the socket (struct local_end)
 * whole.
 * Called by release.c, by any thread, also in a vfork child, which may change its own descriptors only: the tables are its
 * parent's. */
#define _GNU_SOURCE
#include "sock/relay.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/crash.h"
#include "base/log.h"
#include "base/sys.h"
#include "local/diag.h"
#include "local/offset.h"

#define SIGNALS_BYTES 8
#define SETTLED_BYTES 4096
#define SETTLE_PAUSE_NS 100000
#define SETTLE_WAITS_MAX 1000

struct relay {
	int link;         /* the relay's end of the new connection */
	int program;      /* the program's end */
	uint32_t process; /* the relay's slot */
	uint32_t *settled; /* shared with the relay: it has moved what was there */
	int has_error; /* the old socket had an error that nobody was told of */
	int is_shut; /* it was shut down for receiving */
};

static uint64_t signals_block(void)
{
	uint64_t all = ~0ull, before = 0;

	SYS4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &before, SIGNALS_BYTES);
	return before;
}

static void signals_restore(uint64_t before)
{
	SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &before, 0, SIGNALS_BYTES);
}

/* fork(2) as the kernel has it, without the signal that tells a parent of an end. */
static long fork_silent(void)
{
	return SYS5(SYS_clone, 0, 0, 0, 0, 0);
}

/* -- the process -------------------------------------------------------------------------------------------------------- */

/* 0: it runs; a negative errno: it does not. Both locks are held, signals are blocked. */
static int process_start(struct sock *sock, int fd, const struct relay *relay)
{
	int status = 0;
	long middle = fork_silent();

	if (middle == 0) {
		long last = fork_silent();

		if (last == 0)
			relay_run(sock, fd, relay->link, relay->process, relay->settled);
		SYS1(SYS_exit_group, last < 0 ? (int)-last : 0);
	}
	if (middle < 0)
		return (int)middle;
	if (SYS4(SYS_wait4, middle, &status, __WALL, 0) < 0) /* somebody waits for every child there is */
		return 0;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EAGAIN;
}

/* -- the descriptors ---------------------------------------------------------------------------------------------------- */

static int is_of(const struct sock *sock, int fd)
{
	return sock_of(fd) == sock && diag_cookie(fd) == load_relaxed(&sock->shared->cookie);
}

static void replace_one(int fd, int program)
{
	long flags = sys_fcntl(fd, F_GETFD, 0);

	SYS3(SYS_dup3, program, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
}

/* A vfork child has a table of descriptors of its own, and none of ours. */
static void replace_in_vfork_child(struct sock *sock, int program)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (is_of(sock, fd))
			replace_one(fd, program);
}

/* What the program has now is a socket of the kernel, with a slot that says why. NULL: no slot is left. */
static struct sock *sock_for_program(int program)
{
	struct sock *fresh = sock_new(program, 0);

	if (!fresh)
		return NULL;
	fresh->stage = STAGE_OVER;
	store_release(&fresh->shared->reason, reason_relayed);
	store_release(&fresh->shared->state, SHM_SOCKET_NEVER);
	return fresh;
}

static struct sock *replace(struct sock *sock, int program)
{
	struct sock *fresh = sock_for_program(program);

	for (int fd = 0; fd <= descriptor_highest(); fd++) {
		if (fd == program || !is_of(sock, fd))
			continue;
		if (sock_hooks.replace_begins)
			sock_hooks.replace_begins(sock, fd);
		replace_one(fd, program);
		if (fresh)
			sock_add_descriptor(fresh, fd);
		else
			descriptor_set(fd, DESCRIPTOR_UNKNOWN, 0);
		if (fresh && sock_hooks.replaced)
			sock_hooks.replaced(sock, fresh, fd);
	}
	CRASH_POINT(relay_replaced);
	return fresh;
}

/* This process has the old socket no more; the relay has. A thread that is still in a call on it finds the new connection
 * behind the descriptor, and the ring empty. */
static void leave(struct sock *sock)
{
	local_leave_to_relay(&sock->end);
	for (uint32_t k = 0; k < sock->end.pair->bells_count; k++)
		pair_ring_own(sock->end.pair, (int)k);
}

/* -- the whole ---------------------------------------------------------------------------------------------------------- */

/* Locks in their order: the epoll sets', the reader's, the writer's. A vfork child leaves the sets alone. */
static void hold_all(struct sock *sock)
{
	if (!thread.vforked && sock_hooks.sets_hold)
		sock_hooks.sets_hold();
	local_lock_reader(&sock->end);
	local_lock_writer(&sock->end);
}

static void release_all(struct sock *sock)
{
	local_unlock_writer(&sock->end);
	local_unlock_reader(&sock->end);
	if (!thread.vforked && sock_hooks.sets_release)
		sock_hooks.sets_release();
}

static int start_and_replace(struct sock *sock, int fd, const struct relay *relay)
{
	uint64_t mask = signals_block();
	struct sock *fresh = NULL;
	int error;

	hold_all(sock);
	store_release(&pair_own(sock->end.pair)->forked, 1);
	error = local_is_relayed(&sock->end) ? -EALREADY : process_start(sock, fd, relay);
	CRASH_POINT(relay_started);
	if (!error && thread.vforked) {
		replace_in_vfork_child(sock, relay->program);
	} else if (!error) {
		fresh = replace(sock, relay->program);
		leave(sock);
	}
	release_all(sock);
	if (fresh)
		sock_close_begin(fresh, relay->program); /* never the last: the program's descriptors are others */
	if (!error && !thread.vforked) {
		sock_wake_bare_sleepers(sock);
		sock_relayed(sock);
	}
	signals_restore(mask);
	return error;
}

/* What could be read at once from the old socket can be read at once from the new connection. Not in a vfork child: there
 * the relay waits for us. */
static void wait_until_settled(const struct relay *relay)
{
	struct timespec pause = {0, SETTLE_PAUSE_NS};

	for (int waits = 0; waits < SETTLE_WAITS_MAX && !thread.vforked && !load_acquire(relay->settled); waits++)
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
}

/* An error that the program was told of by the old socket is not told again by a connection that has ended the same way. */
static void forget_error(const struct relay *relay)
{
	int error = 0;
	unsigned bytes = sizeof(error);

	if (!relay->has_error)
		sys_getsockopt(relay->program, SOL_SOCKET, SO_ERROR, &error, &bytes);
}

static int make_over_link(struct sock *sock, int fd, struct relay *relay)
{
	int error;

	relay->has_error = !offset_is_closed(fd) || offset_has_error(fd) || load_acquire(&sock->shared->pending_error);
	relay->is_shut = load_relaxed(&sock->shared->flags) & SOCK_SHUT_RECEIVE;

	relay->process = arena_child_prepare_for(sock_index(sock));
	error = relay->process == ARENA_NONE ? -EAGAIN : start_and_replace(sock, fd, relay);
	if (error)
		arena_child_failed(relay->process);
	sys_close(relay->link);
	if (!error) {
		wait_until_settled(relay);
		if (relay->is_shut)
			SYS2(SYS_shutdown, relay->program, SHUT_RD);
		forget_error(relay);
	}
	sys_close(relay->program);
	return error;
}

int relay_make(struct sock *sock, int fd)
{
	void *page = mmap(NULL, SETTLED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct relay relay = {.settled = page};
	int error = page == MAP_FAILED ? -ENOMEM : relay_link_make(fd, &relay.link, &relay.program);

	if (!error)
		error = make_over_link(sock, fd, &relay);
	if (page != MAP_FAILED)
		munmap(page, SETTLED_BYTES);
	if (error)
		return error == -EALREADY ? 0 : error; /* another thread was quicker */
	count(counter_relays, 1);
	log_line(LOG_WHY, "descriptor %d goes on through a relay: %s", fd, arena_reason_text(reason_relayed));
	return 0;
}
