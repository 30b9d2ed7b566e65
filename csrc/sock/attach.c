/* When a socket tries to attach, and how far it has come. Called after data calls of plain mode; one thread at a time for
 * a socket (attach_busy), the others go on with the kernel. */
#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "sock/option.h"

#define CALLS_WITHOUT_TURNS 8 /* a stream in one direction attaches after so many calls */
#define TRY_STEP_MAX 1024

static void never(struct sock *sock, int reason)
{
	sock->stage = STAGE_OVER;
	store_release(&sock->shared->reason, (uint32_t)reason);
	store_release(&sock->shared->state, SHM_SOCKET_NEVER);
	log_line(LOG_WHY, "descriptor %u stays with the kernel: %s", sock->shared->descriptor,
	         arena_reason_text((uint32_t)reason));
}

/* 0: another thread has given it to the kernel for good (sock_never). */
static int becomes(struct sock *sock, uint32_t wanted)
{
	uint32_t state = load_acquire(&sock->shared->state);

	do {
		if (state == SHM_SOCKET_NEVER)
			return 0;
	} while (!compare_swap(&sock->shared->state, &state, wanted));
	return 1;
}

static void try_later(struct sock *sock)
{
	sock->try_step = sock->try_step ? sock->try_step * 2 : 1;
	if (sock->try_step > TRY_STEP_MAX)
		sock->try_step = TRY_STEP_MAX;
	sock->try_at = sock->calls + sock->try_step / 2;
}

static void begin(struct sock *sock, int fd)
{
	int reason = meet_identify(&sock->meeting, fd);

	if (!reason && load_relaxed(&sock->shared->flags) & SOCK_ACTIVE) {
		reason = meet_offer(&sock->meeting);
		if (!reason)
			sock->stage = STAGE_OFFERED;
	} else if (!reason) {
		sock->stage = STAGE_WAITING;
	}
	sock->shared->cookie = sock->meeting.cookie;
	if (reason)
		never(sock, reason);
	else
		store_release(&sock->shared->reason, reason_peer_not_byway);
}

static void meet(struct sock *sock)
{
	int reason = 0;
	enum meet_result result;

	if (sock->stage == STAGE_OFFERED)
		result = meet_accept(&sock->meeting, &sock->end, &reason);
	else
		result = meet_join(&sock->meeting, &sock->end, &reason);
	if (result == MEET_NEVER) {
		if (reason == reason_protocol)
			count(counter_protocol_errors, 1);
		never(sock, reason);
	} else if (result == MEET_JOINED) {
		sock->stage = STAGE_JOINED;
		if (!becomes(sock, SHM_SOCKET_JOINED)) {
			meet_abandon(&sock->meeting, &sock->end);
			sock->stage = STAGE_OVER;
		}
	} else {
		try_later(sock);
	}
}

static void give_up(struct sock *sock, int reason)
{
	meet_abandon(&sock->meeting, &sock->end);
	never(sock, reason);
}

/* Both ends are attached: from here calls go through the engine. */
static void engine(struct sock *sock, int fd)
{
	int reason;
	/* After a receive it may wait a moment for senders to leave; a receiver that sleeps would make a sender wait in vain. */
	int wait = sock->last_call == SOCK_CALL_RECV && sock->calls >= sock->try_at;

	if ((load_acquire(&sock->gate) && !wait) || !arena_socket_is_sole_holder(sock_index(sock)))
		return;
	sock_is_nonblocking(sock, fd);
	option_find_out(sock, fd);
	if (!sock_engine_set(sock)) {
		try_later(sock);
		return;
	}
	CRASH_POINT(engine_set);
	descriptor_own_close(sock->meeting.fd);
	sock->meeting.fd = -1;
	sock->stage = STAGE_OVER;
	if (becomes(sock, SHM_SOCKET_ATTACHED))
		store_release(&sock->shared->reason, reason_none);
	else
		local_to_kernel(&sock->end, fd);
	count(counter_attached, 1);
	reason = sock_hooks.engine_begins ? sock_hooks.engine_begins(sock, fd) : 0;
	if (reason)
		sock_never(sock, fd, (enum reason)reason);
	store_release(&sock->end.tx->sender_descriptor, (uint32_t)fd);
	if (load_relaxed(&sock->shared->flags) & SOCK_LOWAT)
		local_ask_for_kernel_bytes(&sock->end);
	local_count_from_here(&sock->end, fd);
	local_rx_allow(&sock->end);
	log_line(LOG_EVENT, "descriptor %d is attached to channel %u", fd, sock->end.channel);
}

static void complete(struct sock *sock, int fd)
{
	int reason;
	int complete = meet_is_complete(&sock->meeting, &sock->end, &reason);

	if (complete < 0)
		give_up(sock, reason);
	else if (complete)
		engine(sock, fd);
}

static void attempt(struct sock *sock, int fd)
{
	if (sock->stage == STAGE_NEW) {
		if (!arena_socket_is_sole_holder(sock_index(sock)))
			return;
		begin(sock, fd);
	}
	if ((sock->stage == STAGE_OFFERED || sock->stage == STAGE_WAITING) && sock->calls >= sock->try_at)
		meet(sock);
	if (sock->stage == STAGE_JOINED)
		complete(sock, fd);
}

static void attempt_waiting(struct sock *sock, int fd)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)options.attach_wait_us * 1000;
	struct timespec pause = {0, 20000};

	do {
		sock->try_at = 0;
		attempt(sock, fd);
		if (sock->stage == STAGE_OVER || sock->stage == STAGE_NEW)
			return;
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
	} while (clock_now_ns() < deadline);
}

static int is_worth_it(struct sock *sock)
{
	return sock->turns >= options.attach_after || sock->calls >= CALLS_WITHOUT_TURNS;
}

void sock_note_call(struct sock *sock, int fd, enum sock_call call)
{
	int sends_or_receives = load_relaxed(&sock->shared->flags) & (SOCK_ACTIVE | SOCK_PASSIVE);

	sock->calls++;
	sock->turns += sock->last_call && sock->last_call != (uint32_t)call;
	sock->last_call = call;
	if (sock->stage == STAGE_OVER || !sends_or_receives || !is_worth_it(sock) || !options.enabled)
		return;
	if (load_relaxed(&sock->shared->flags) & SOCK_SHUT || load_relaxed(&sock->shared->state) == SHM_SOCKET_NEVER ||
	    exchange(&sock->attach_busy, 1))
		return;
	critical_enter();
	if (options.attach_wait_us && sock->stage == STAGE_NEW)
		attempt_waiting(sock, fd);
	else
		attempt(sock, fd);
	critical_leave();
	store_release(&sock->attach_busy, 0);
}
