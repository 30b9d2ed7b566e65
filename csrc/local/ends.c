/* Sections 5 and 7: revoking, taking back, half-close, close, death, nonsense. Called by sock/ and by send.c and recv.c. */
#include <errno.h>

#include "base/crash.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"
#include "local/diag.h"
#include "local/end.h"
#include "local/offset.h"
#include "shm/arena.h"

#define ANSWER_WAITS_MAX 1000 /* 200 ms; 5 ms was too short beside three busy loops on two processors */
#define ANSWER_PAUSE_NS 200000

/* -- revoke ----------------------------------------------------------------------------------------------------------- */

/* With what a process that died with the lock has left undone. */
static void lock_writer_and_repair(struct local_end *end, int fd)
{
	local_lock_writer(end);
	if (unlikely(load_relaxed(&end->socket->flags) & SOCK_WRITER_DIED))
		local_take_back_goes_on(end, fd);
}

static void revoke_for_good(struct local_end *end)
{
	fetch_or(&end->socket->flags, SOCK_RX_KERNEL);
	if (!(fetch_or(&end->rx->tail, SHM_TAIL_REVOKED | SHM_TAIL_NEVER) & SHM_TAIL_NEVER))
		count(counter_revokes, 1);
}

/* Reader's lock held. */
static int revoke_empty(struct local_end *end)
{
	uint64_t tail = load_acquire(&end->rx->tail);

	do {
		if (tail & SHM_TAIL_REVOKED)
			break;
		if (local_ring_unread(end))
			return -EAGAIN;
	} while (!compare_swap(&end->rx->tail, &tail, tail | SHM_TAIL_REVOKED));
	CRASH_POINT(sleep_revoked);
	return local_readable(end) ? -EAGAIN : 0;
}

/* Reader's lock held. */
static void allow(struct local_end *end)
{
	uint64_t tail = load_acquire(&end->rx->tail);

	do {
		if (tail & SHM_TAIL_NEVER || !(tail & SHM_TAIL_REVOKED) || end->kernel_sleepers)
			return;
	} while (!compare_swap(&end->rx->tail, &tail, tail & ~SHM_TAIL_REVOKED));
}

int local_kernel_sleep_begins(struct local_end *end)
{
	int result;

	local_lock_reader(end);
	end->kernel_sleepers++;
	result = revoke_empty(end);
	local_unlock_reader(end);
	return result;
}

void local_kernel_sleep_ends(struct local_end *end)
{
	local_lock_reader(end);
	end->kernel_sleepers--;
	allow(end);
	local_unlock_reader(end);
}

void local_rx_allow(struct local_end *end)
{
	local_lock_reader(end);
	allow(end);
	local_unlock_reader(end);
}

void local_to_kernel(struct local_end *end, int fd)
{
	revoke_for_good(end);
	fetch_or(&end->socket->flags, SOCK_TX_KERNEL);
	lock_writer_and_repair(end, fd);
	local_move_to_kernel(end);
	store_release(&end->tx->kernel_for_good, 1);
	local_unlock_writer(end);
}

int local_rx_is_kernel(struct local_end *end)
{
	if (local_is_relayed(end))
		return 1;
	return load_acquire(&end->rx->tail) & SHM_TAIL_REVOKED && !local_ring_unread(end) &&
	       !(load_acquire(&end->rx->head) & SHM_HEAD_TAKEN);
}

void local_leave_to_relay(struct local_end *end)
{
	store_release(&end->left, LEFT_TO_RELAY);
}

int local_takes_no_more(const struct local_end *end)
{
	return load_relaxed(&end->socket->flags) & SOCK_SHUT_RECEIVE && load_relaxed(&end->tx->half_closed);
}

/* Under the reader's lock, and with NEVER: no take is under way that moves `head` by a plain store. */
void local_request_resend(struct local_end *end)
{
	uint32_t none = 0;

	local_lock_reader(end);
	if (local_is_relayed(end)) {
		local_unlock_reader(end);
		return;
	}
	revoke_for_good(end);
	compare_swap(&end->rx->resend_wanted, &none, 1);
	local_unlock_reader(end);
	cpu_fence();
	local_wake_peer(end); /* the peer sleeps, if it does, as a receiver of what we send */
}

/* -- taking back -------------------------------------------------------------------------------------------------------- */

/* Behind kernel bytes up to `offset` come those that are left in the ring. */
static void ring_goes_on(struct local_end *end, uint64_t offset)
{
	store_relaxed(&end->tx->change_offset[(load_relaxed(&end->tx->change_count) + 1) % SHM_CHANGES_MAX], offset);
	store_release(&end->tx->change_count, end->tx->change_count + 1);
	end->socket->moves_to_ring++;
	cpu_fence();
	local_wake_peer(end);
}

/* What lay unread in our ring was sent by the kernel up to `sent`; the rest stays in the ring, behind it. */
static void untake(struct local_end *end, int fd, uint64_t head, uint64_t sent)
{
	uint64_t offset = 0, left = ((load_relaxed(&end->tx->tail) - head) & SHM_OFFSET_MASK) - sent;
	uint64_t taken = head | SHM_HEAD_TAKEN;
	uint64_t moved = (head & ~(uint64_t)(SHM_OFFSET_MASK | SHM_HEAD_TAKEN)) | ((head + sent) & SHM_OFFSET_MASK);

	if (left && offset_sent(fd, &offset))
		return; /* the connection takes nothing any more: the bytes are as lost as they would be in the kernel */
	if (!compare_swap(&end->tx->head, &taken, moved)) /* the receiver holds us for dead, and reads on by itself */
		return;
	CRASH_POINT(take_back_untaken);
	if (left)
		ring_goes_on(end, offset);
}

static long send_from_ring(struct local_end *end, int fd, uint64_t offset, uint64_t bytes)
{
	uint64_t sent = 0;

	while (sent < bytes) {
		size_t at = (offset + sent) & (end->ring_bytes - 1);
		size_t piece = end->ring_bytes - at < bytes - sent ? end->ring_bytes - at : bytes - sent;
		long step = sys_sendto(fd, end->tx_ring + at, piece, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (step < 0 && step != -EAGAIN) /* the program will hear of it, as if it had sent itself */
			store_release(&end->socket->pending_error, (uint32_t)-step);
		if (step <= 0)
			return (long)sent;
		sent += (uint64_t)step;
	}
	return (long)sent;
}

/* `unread` bytes at `head`, which nobody else takes any more. */
static void resend(struct local_end *end, int fd, uint64_t head, uint64_t unread)
{
	long sent;

	store_relaxed(&end->tx->change_offset[(load_relaxed(&end->tx->change_count) + 1) % SHM_CHANGES_MAX],
	              head & SHM_OFFSET_MASK);
	store_release(&end->tx->change_count, end->tx->change_count + 1);
	end->socket->moves_to_kernel++;
	sent = send_from_ring(end, fd, head & SHM_OFFSET_MASK, unread);
	CRASH_POINT(take_back_sent);
	count(counter_taken_back, sent > 0 ? (uint64_t)sent : 0);
	untake(end, fd, head, sent > 0 ? (uint64_t)sent : 0);
}

/* Only while the ring is the last carrier and the receiver is in it: nothing of ours may lie behind the unread bytes. */
static void take_back(struct local_end *end, int fd)
{
	uint64_t head = load_acquire(&end->tx->head);
	uint64_t unread;

	if (!(end->tx->change_count & 1) || !(load_acquire(&end->tx->tail) & SHM_TAIL_NEVER))
		return;
	if (load_acquire(&end->tx->changes_taken) != end->tx->change_count)
		return;
	do {
		unread = (load_acquire(&end->tx->tail) - head) & SHM_OFFSET_MASK;
		if (!unread || unread > end->ring_bytes || head & SHM_HEAD_TAKEN)
			return;
	} while (!compare_swap(&end->tx->head, &head, head | SHM_HEAD_TAKEN));
	CRASH_POINT(take_back_taken);
	resend(end, fd, head, unread);
}

void local_take_back(struct local_end *end, int fd)
{
	uint32_t asked = 1;

	if (local_is_relayed(end) || load_acquire(&end->rx->closed)) /* nobody is there to read it, and the kernel knows */
		return;
	local_sender_enter(end);
	compare_swap(&end->tx->resend_wanted, &asked, 0);
	if (likely(!load_relaxed(&end->left)))
		take_back(end, fd);
	local_sender_leave(end);
}

/* How far it had come is told by the changes, and by what the kernel has sent since the ring began. */
static void take_back_complete(struct local_end *end, int fd)
{
	uint64_t head = load_acquire(&end->tx->head), tail = load_acquire(&end->tx->tail) & SHM_OFFSET_MASK;
	uint64_t changes = load_relaxed(&end->tx->change_count), unread = (tail - head) & SHM_OFFSET_MASK, sent;

	if (changes & 1) { /* nothing sent yet */
		if (head & SHM_HEAD_TAKEN && unread <= end->ring_bytes)
			resend(end, fd, head, unread);
		return;
	}
	if (offset_sent(fd, &sent)) /* the connection takes nothing any more */
		return;
	if (head & SHM_HEAD_TAKEN) {
		sent -= end->tx->change_offset[(changes - 1) % SHM_CHANGES_MAX];
		untake(end, fd, head, sent < unread ? sent : unread);
	} else if (unread) {
		ring_goes_on(end, sent);
	}
}

void local_take_back_goes_on(struct local_end *end, int fd)
{
	fetch_and(&end->socket->flags, ~(uint32_t)SOCK_WRITER_DIED);
	local_sender_enter(end);
	if (likely(!load_relaxed(&end->left)))
		take_back_complete(end, fd);
	local_sender_leave(end);
}

int local_check_end(struct local_end *end, int fd)
{
	if (load_relaxed(&end->socket->flags) & SOCK_GONE || local_is_relayed(end))
		return 0;
	/* One that has forked may live on when the last holder of the socket has ended. */
	if (pair_peer_lives(end->pair) && !load_relaxed(&pair_peer(end->pair)->forked))
		return 0;
	return local_believe_end(end, fd);
}

int local_believe_end(struct local_end *end, int fd)
{
	struct pollfd asked = {.fd = fd, .events = POLLRDHUP};

	if (load_relaxed(&end->socket->flags) & SOCK_GONE)
		return 0;
	if (sys_poll(&asked, 1, 0) != 1 || !(asked.revents & (POLLRDHUP | POLLHUP | POLLERR)))
		return 0;
	local_lock_writer(end);
	local_peer_gone(end, fd);
	local_unlock_writer(end);
	return 1;
}

void local_service(struct local_end *end, int fd)
{
	uint32_t died = load_relaxed(&end->socket->flags) & SOCK_WRITER_DIED;

	if (likely(!load_relaxed(&end->tx->resend_wanted) && !died))
		return;
	if (!died && !(load_relaxed(&end->tx->change_count) & 1))
		return;
	lock_writer_and_repair(end, fd);
	local_take_back(end, fd);
	local_unlock_writer(end);
}

/* -- the peer's death ---------------------------------------------------------------------------------------------------- */

/* The dead peer's kernel answers at once, but its answer may be dealt with a little later, on a busy machine. If it came after
 * we have asked for the error, the program would be told of two. */
static void await_answer(int fd)
{
	struct timespec pause = {0, ANSWER_PAUSE_NS};

	for (int waits = 0; waits < ANSWER_WAITS_MAX && !offset_is_closed(fd); waits++)
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
}

/* Makes the kernel's view the one of a reset, and keeps ECONNRESET for the program. */
static void emulate_reset(struct local_end *end, int fd, uint64_t head, uint64_t unread)
{
	int error = 0;
	unsigned bytes = sizeof(error);

	local_sender_enter(end);
	send_from_ring(end, fd, head & SHM_OFFSET_MASK, unread);
	local_sender_leave(end);
	await_answer(fd);
	sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
	/* Linux: EPIPE where FIN had come long before the reset (CLOSE_WAIT), nothing where ours had gone too (CLOSE). */
	error = !load_acquire(&end->rx->half_closed) ? ECONNRESET : load_relaxed(&end->tx->half_closed) ? 0 : EPIPE;
	store_release(&end->socket->pending_error, (uint32_t)error);
	count(counter_resets_emulated, 1);
}

void local_peer_reset(struct local_end *end)
{
	fetch_or(&end->socket->flags, SOCK_TX_KERNEL | SOCK_GONE);
	local_move_to_kernel(end);
}

/* What the peer has not taken out of the ring, unless it is being taken back. */
static uint64_t left_unread(const struct local_end *end, uint64_t *head)
{
	uint64_t unread;

	*head = load_acquire(&end->tx->head);
	unread = (load_acquire(&end->tx->tail) - *head) & SHM_OFFSET_MASK;
	return unread > end->ring_bytes || *head & SHM_HEAD_TAKEN ? 0 : unread;
}

/* Somebody has the peer's socket: its process, or, once that has forked, whoever the kernel knows. It knows nobody where the
 * connection is over on that side too. */
static int peer_is_held(const struct local_end *end, int fd)
{
	struct diag_peer peer;

	if (!load_acquire(&pair_peer(end->pair)->forked) || diag_find_peer(fd, &peer))
		return pair_peer_lives(end->pair);
	return peer.inode != 0;
}

/* Asked now: who dies closes its sockets before the pidfd tells, and what we send then is answered by a reset. */
static int peer_lives_now(const struct local_end *end)
{
	return pair_peer_lives(end->pair) && !process_is_ending(end->pair->peer_process);
}

/* Whether the kernel has told all that there was to tell. Its error is of what we sent after the end, where bytes were
 * unread. Over while the peer lives: that was a reset by the kernel, and somebody has heard of it. */
static int kernel_has_told(struct local_end *end, int fd, int is_half, uint64_t unread)
{
	if (load_acquire(&end->rx->closed) || (offset_has_error(fd) && (is_half || !unread)))
		return 1;
	return offset_is_closed(fd) && !load_acquire(&pair_peer(end->pair)->forked) && peer_lives_now(end);
}

void local_peer_gone(struct local_end *end, int fd)
{
	uint64_t head, unread;
	int is_half, told;

	if (load_relaxed(&end->socket->flags) & SOCK_GONE || local_is_relayed(end))
		return;
	if (!offset_is_closed(fd) && !offset_fin_received(fd)) /* our own shutdown */
		return;
	/* An end of one direction only, or the doing of a program that shares the peer's socket and knows nothing of rings. */
	is_half = (load_acquire(&end->rx->half_closed) || load_acquire(&end->rx->kernel_for_good)) && peer_is_held(end, fd);
	unread = left_unread(end, &head);
	told = kernel_has_told(end, fd, is_half, unread);
	if (is_half && !told)
		return;
	local_peer_reset(end);
	if (unread && !told)
		emulate_reset(end, fd, head, unread);
}

/* -- ends in good order --------------------------------------------------------------------------------------------------- */

static void half_close(struct local_end *end)
{
	fetch_or(&end->socket->flags, SOCK_TX_KERNEL);
	store_release(&end->tx->half_closed, 1);
	CRASH_POINT(shutdown_marked);
	local_move_to_kernel(end);
	CRASH_POINT(shutdown_moved);
}

/* In the sender's section: a receiver that hands back has the kernel's bytes in its hands, and must be able to send them. */
static long kernel_shutdown(struct local_end *end, int fd, int how)
{
	long result;

	lock_writer_and_repair(end, fd);
	local_sender_enter(end);
	result = SYS2(SYS_shutdown, fd, how);
	local_sender_leave(end);
	local_unlock_writer(end);
	return result;
}

long local_shutdown(struct local_end *end, int fd, int how)
{
	if (local_is_relayed(end))
		return SYS2(SYS_shutdown, fd, how);
	if (how == SHUT_RD || how == SHUT_RDWR)
		fetch_or(&end->socket->flags, SOCK_SHUT_RECEIVE);
	if (how == SHUT_WR || how == SHUT_RDWR) {
		lock_writer_and_repair(end, fd);
		if (!local_is_relayed(end))
			half_close(end);
		local_unlock_writer(end);
	}
	revoke_for_good(end);
	return kernel_shutdown(end, fd, how);
}

int local_has_half_closed(const struct local_end *end)
{
	return load_acquire(&end->tx->half_closed) != 0;
}

static void reset_at_close(int fd)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void local_close(struct local_end *end, int fd, int sole)
{
	uint64_t unread;

	fetch_or(&end->socket->flags, SOCK_TX_KERNEL);
	revoke_for_good(end);
	unread = local_ring_unread(end);
	CRASH_POINT(close_revoked);
	if (unread && sole) /* before the mark: whoever dies between the two must not leave it without the reset */
		reset_at_close(fd);
	lock_writer_and_repair(end, fd);
	local_move_to_kernel(end);
	if (sole)
		store_release(&end->tx->closed, 1);
	CRASH_POINT(close_marked);
	local_unlock_writer(end);
}

int local_exec_closes(struct local_end *end, int fd, int sole, struct linger *before)
{
	unsigned bytes = sizeof(*before);
	int known = !sys_getsockopt(fd, SOL_SOCKET, SO_LINGER, before, &bytes);

	local_to_kernel(end, fd);
	local_close(end, fd, sole);
	return known;
}

void local_exec_did_not_close(struct local_end *end, int fd, const struct linger *before)
{
	store_release(&end->tx->closed, 0);
	if (before)
		sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, before, sizeof(*before));
}

void local_protocol_error(struct local_end *end)
{
	if (exchange(&end->left, LEFT_BROKEN))
		return;
	fetch_or(&end->socket->flags, SOCK_RX_KERNEL | SOCK_TX_KERNEL);
	store_release(&end->socket->reason, reason_protocol);
	store_release(&end->socket->pending_error, ECONNRESET);
	count(counter_protocol_errors, 1);
	log_line(LOG_WHY, "the other end of a connection wrote nonsense into its channel; the connection is reset");
}
