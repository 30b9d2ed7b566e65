/* Section 7: a receiver that must have every unread byte in the kernel now, because a program that knows nothing of rings
 * is going to read, puts them there itself: by a copy of the sender's socket (pidfd_getfd(2), where the system allows it).
 *
 * The sender is kept out meanwhile, as in Peterson's lock: it sets sender_busy, fences, and looks at resend_wanted; the
 * receiver claims in resend_wanted, fences, and waits until sender_busy is clear. The ring is revoked for good before, so
 * that nothing is published any more. Lock: the reader's.
 *
 * A receiver that dies in the middle may have left the socket to a process that it shares it with. Its claim is undone by
 * who next takes the lock, or by a sender that is kept out; where bytes were under way the connection counts as reset. */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/critical.h"
#include "base/process.h"
#include "base/sys.h"
#include "local/diag.h"
#include "local/end.h"
#include "local/offset.h"

#define WAIT_NS 20000
#define BUSY_WAITS_MAX 5000
#define TAKE_OUT_WAITS_MAX 40000 /* 3 s without a byte; a segment that was dropped comes again after 200 ms or more */
#define PATIENCE_NS 30000000000u /* of a sender that is kept out */
#define WAITS_BETWEEN_LOOKS 64
#define TAKEN_OUT_BYTES_MAX (64u << 20)
#define URGENT_MAX 8
#define ARRIVAL_WAITS_MAX 500

static void wait_a_little(void)
{
	struct timespec pause = {0, WAIT_NS};

	SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
}

/* -- the sender's side --------------------------------------------------------------------------------------------------- */

static int claimer_is_gone(struct local_end *end, uint32_t claim)
{
	return end->pair->ids_agree ? process_thread_is_gone(claim >> SHM_CLAIM_SHIFT) : !pair_peer_lives(end->pair);
}

/* Kept out by `claim`, for `waits` turns so far. Where it will not end by itself: ends it, or the connection. */
static void claim_end_for_dead(struct local_end *end, uint32_t claim, uint64_t waits, uint64_t since_ns)
{
	if (waits % WAITS_BETWEEN_LOOKS)
		return;
	if (clock_now_ns() - since_ns > PATIENCE_NS)
		local_protocol_error(end);
	else if (claimer_is_gone(end, claim) && claim & SHM_CLAIM_MOVING)
		local_protocol_error(end); /* the claim stays: the receiver's end must know too */
	else if (claimer_is_gone(end, claim))
		compare_swap(&end->tx->resend_wanted, &claim, 0);
}

void local_sender_enter(struct local_end *end)
{
	uint64_t since_ns = 0;

	for (uint64_t waits = 1;; waits++) {
		uint32_t wanted;

		store_relaxed(&end->tx->sender_busy, 1);
		cpu_fence();
		wanted = load_acquire(&end->tx->resend_wanted);
		if (likely(!(wanted & SHM_CLAIM_HELD)) || load_relaxed(&end->left))
			return;
		store_release(&end->tx->sender_busy, 0);
		since_ns = since_ns ? since_ns : clock_now_ns();
		wait_a_little();
		claim_end_for_dead(end, wanted, waits, since_ns);
	}
}

void local_sender_leave(struct local_end *end)
{
	store_release(&end->tx->sender_busy, 0);
}

/* -- the receiver's side -------------------------------------------------------------------------------------------------- */

static int claim(struct local_end *end)
{
	uint32_t before = load_relaxed(&end->rx->resend_wanted);

	while (!compare_swap(&end->rx->resend_wanted, &before, SHM_CLAIM_HELD | (uint32_t)thread_id() << SHM_CLAIM_SHIFT))
		;
	CRASH_POINT(hand_back_claimed);
	for (int waits = 0; load_acquire(&end->rx->sender_busy); waits++) {
		if (waits == BUSY_WAITS_MAX || !pair_peer_lives(end->pair))
			return 0;
		wait_a_little();
	}
	return 1;
}

static void unclaim(struct local_end *end)
{
	store_release(&end->rx->resend_wanted, 0);
}

static void moving(struct local_end *end)
{
	fetch_or(&end->rx->resend_wanted, SHM_CLAIM_MOVING);
}

int local_claim_has_broken(struct local_end *end)
{
	if (likely(!(load_relaxed(&end->rx->resend_wanted) & SHM_CLAIM_MOVING)))
		return 0;
	local_protocol_error(end);
	return 1;
}

void local_claim_of_dead(struct local_end *end)
{
	uint32_t claim = load_acquire(&end->rx->resend_wanted);

	if (claim & SHM_CLAIM_HELD && !local_claim_has_broken(end))
		compare_swap(&end->rx->resend_wanted, &claim, 0);
}

int local_peer_socket(struct local_end *end)
{
	long fd = SYS3(SYS_pidfd_getfd, end->pair->peer_fd, load_relaxed(&end->rx->sender_descriptor), 0);

	if (fd >= 0 && diag_cookie((int)fd) != end->shared->cookies[1 - end->pair->end]) {
		sys_close((int)fd);
		return -ESTALE;
	}
	return (int)fd;
}

/* Whether the kernel takes it all in one go: what it has of this direction, and the ring's bytes, with nobody reading. */
static int fits(int fd, int sender, uint64_t unread)
{
	int room = 0, unacknowledged = 0;
	unsigned bytes = sizeof(room);
	long waiting = offset_waiting(fd);

	if (waiting < 0 || sys_getsockopt(sender, SOL_SOCKET, SO_SNDBUF, &room, &bytes) ||
	    sys_ioctl(sender, SIOCOUTQ, &unacknowledged))
		return 0;
	return (uint64_t)waiting + (uint64_t)unacknowledged + unread <= (uint64_t)room / 4 * 3;
}

/* 1: the sender's bytes have all been taken out of the kernel; none is on the way. */
static int is_taken_out(int fd, int sender)
{
	uint64_t received, sent;

	return !offset_received(fd, 0, &received) && !offset_sent(sender, &sent) && received == sent;
}

/* What was taken out of the kernel, and which bytes of it were out-of-band. The last of these may have been read already: it
 * must be an urgent byte still, at which a receive stops, and which a next one makes an ordinary byte. */
struct taken_out {
	uint8_t *bytes;
	uint64_t count;
	uint64_t urgent[URGENT_MAX];
	uint64_t urgent_count;
	int is_last_read;
};

static int set_inline(int fd, int on)
{
	int before = 0;
	unsigned bytes = sizeof(before);

	sys_getsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &before, &bytes);
	sys_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	return before;
}

static void note_urgent(int fd, struct taken_out *out)
{
	if (out->urgent_count < URGENT_MAX)
		out->urgent[out->urgent_count++] = out->count;
	out->is_last_read = !offset_has_urgent(fd);
}

/* Up to the next out-of-band byte, or that byte alone. As recv(2); urgent data lies in line. Asked for are bytes that had
 * arrived before the mark was looked for: an urgent byte that comes meanwhile is not passed over. */
static long take_piece(int fd, struct taken_out *out)
{
	int is_mark = 0;
	long most = (long)(TAKEN_OUT_BYTES_MAX - out->count), waiting = offset_waiting(fd);

	if (waiting <= 0)
		return -EAGAIN;
	if (!sys_ioctl(fd, SIOCATMARK, &is_mark) && is_mark) {
		note_urgent(fd, out);
		waiting = 1;
	}
	return sys_recvfrom(fd, out->bytes + out->count, (size_t)(waiting < most ? waiting : most), MSG_DONTWAIT);
}

/* What the kernel holds for us, all of it, so that ring bytes can be put in the middle. 1: done; 0: not all of it came. */
static int take_kernel_out(int fd, int sender, struct taken_out *out)
{
	for (int waits = 0; waits < TAKE_OUT_WAITS_MAX && out->count < TAKEN_OUT_BYTES_MAX;) {
		long got = take_piece(fd, out);

		if (got > 0) {
			out->count += (uint64_t)got;
			waits = 0;
			continue;
		}
		if (is_taken_out(fd, sender))
			return 1;
		wait_a_little();
		waits++;
	}
	return 0;
}

static int send_all(int fd, const uint8_t *from, uint64_t bytes, int flags)
{
	for (uint64_t sent = 0; sent < bytes;) {
		long step = sys_sendto(fd, from + sent, bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL | flags);

		if (step <= 0)
			return 0;
		sent += (uint64_t)step;
	}
	return 1;
}

/* Bytes [from, to) again, out-of-band data as such. */
static int send_again(int fd, const struct taken_out *out, uint64_t from, uint64_t to)
{
	for (uint64_t i = 0; i < out->urgent_count; i++) {
		uint64_t at = out->urgent[i];

		if (at < from || at >= to)
			continue;
		if (!send_all(fd, out->bytes + from, at - from, 0) || !send_all(fd, out->bytes + at, 1, MSG_OOB))
			return 0;
		from = at + 1;
	}
	return send_all(fd, out->bytes + from, to - from, 0);
}

/* All has been sent again: an urgent byte that had been read is read again, when it has arrived. */
static void read_again(int fd, int sender, const struct taken_out *out)
{
	uint64_t sent, arrived;
	uint8_t byte;

	for (int waits = 0; out->is_last_read && waits < ARRIVAL_WAITS_MAX; waits++) {
		if (offset_sent(sender, &sent) || offset_arrived(fd, &arrived))
			return;
		if (arrived >= sent) {
			sys_recvfrom(fd, &byte, 1, MSG_OOB | MSG_DONTWAIT);
			return;
		}
		wait_a_little();
	}
}

static int send_ring(struct local_end *end, int fd, uint64_t offset, uint64_t bytes)
{
	uint64_t at = offset & (end->ring_bytes - 1);
	uint64_t first = end->ring_bytes - at < bytes ? end->ring_bytes - at : bytes;

	return send_all(fd, end->rx_ring + at, first, 0) && send_all(fd, end->rx_ring, bytes - first, 0);
}

/* Everything unread has been sent by the kernel: no change is pending, nothing is in the ring. */
static void settle(struct local_end *end, uint64_t changes)
{
	uint64_t even = changes + (changes & 1);
	uint64_t tail = load_acquire(&end->rx->tail), head = load_acquire(&end->rx->head);

	store_relaxed(&end->rx->change_offset[even % SHM_CHANGES_MAX], tail & SHM_OFFSET_MASK);
	store_release(&end->rx->head, (head & ~(uint64_t)SHM_OFFSET_MASK) | (tail & SHM_OFFSET_MASK));
	store_release(&end->rx->change_count, even);
	store_release(&end->rx->changes_taken, even);
}

/* The sender is on the ring: what is unread there goes behind all that the kernel has. Where the kernel takes only a part,
 * that part becomes a kernel segment, as if the sender had sent it so, and the rest is tried again later. */
static int append(struct local_end *end, int sender, uint64_t head, uint64_t unread)
{
	uint64_t changes = load_relaxed(&end->rx->change_count), offset;
	uint64_t at = head & (end->ring_bytes - 1);
	uint64_t first = end->ring_bytes - at < unread ? end->ring_bytes - at : unread;
	long sent;

	moving(end);
	sent = sys_sendto(sender, end->rx_ring + at, first, MSG_DONTWAIT | MSG_NOSIGNAL);
	CRASH_POINT(hand_back_sent);
	if (sent <= 0 || offset_sent(sender, &offset))
		return 0;
	store_relaxed(&end->rx->change_offset[(changes + 1) % SHM_CHANGES_MAX], head & SHM_OFFSET_MASK);
	store_relaxed(&end->rx->change_offset[(changes + 2) % SHM_CHANGES_MAX], offset);
	store_release(&end->rx->head, (head & ~(uint64_t)SHM_OFFSET_MASK) | ((head + (uint64_t)sent) & SHM_OFFSET_MASK));
	store_release(&end->rx->change_count, changes + 2);
	/* All kernel bytes so far lie before the rest of the ring: one kernel segment, whatever was pending. */
	store_release(&end->rx->changes_taken, changes + 1);
	return (uint64_t)sent == unread;
}

/* The sender has gone on in the kernel: the kernel's bytes are taken out, and the ring's put before those that follow. */
static int insert(struct local_end *end, int fd, int sender, uint64_t head, uint64_t unread, uint64_t before)
{
	struct taken_out out = {.count = 0};
	uint64_t sent;
	int done, was_inline;

	if (offset_sent(sender, &sent) || !fits(fd, sender, unread)) /* it might not go in again */
		return 0;
	out.bytes =
		mmap(NULL, TAKEN_OUT_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (out.bytes == MAP_FAILED)
		return 0;
	moving(end);
	was_inline = set_inline(fd, 1);
	done = take_kernel_out(fd, sender, &out);
	end->socket->kernel_taken += out.count;
	CRASH_POINT(hand_back_taken_out);
	done = done && before <= out.count && send_again(sender, &out, 0, before) &&
	       send_ring(end, sender, head & SHM_OFFSET_MASK, unread) && send_again(sender, &out, before, out.count);
	munmap(out.bytes, TAKEN_OUT_BYTES_MAX);
	set_inline(fd, 0);
	read_again(fd, sender, &out);
	set_inline(fd, was_inline);
	if (!done) /* bytes were taken out and are lost: nobody may take the rest for the whole */
		local_protocol_error(end);
	return done;
}

static int hand_back(struct local_end *end, int fd, int sender)
{
	uint64_t taken = end->rx->changes_taken, changes = load_acquire(&end->rx->change_count);
	uint64_t head = load_acquire(&end->rx->head), unread = local_ring_unread(end);
	uint64_t position, before;
	int done;

	if (head & SHM_HEAD_TAKEN || unread > end->ring_bytes || changes - taken > SHM_CHANGES_MAX)
		return 0;
	if (changes & 1 || !unread) {
		done = !unread || append(end, sender, head, unread);
		changes = load_relaxed(&end->rx->change_count);
	} else {
		/* All that is unread in the ring is behind the last move to it; of the kernel's bytes, what was sent before that. */
		uint64_t ring_begins = end->rx->change_offset[(changes - 1) % SHM_CHANGES_MAX];

		if (local_kernel_position(end, fd, &position))
			return 0;
		before = ring_begins > position ? ring_begins - position : 0;
		done = insert(end, fd, sender, head, unread, before);
	}
	if (done)
		settle(end, changes);
	return done;
}

int local_hand_back(struct local_end *end, int fd)
{
	int sender = local_peer_socket(end);
	int done = 0;

	if (sender < 0)
		return 0;
	local_lock_reader(end);
	if (!load_relaxed(&end->left) && !local_claim_has_broken(end)) {
		if (load_acquire(&end->rx->tail) & SHM_TAIL_NEVER && claim(end)) /* as in local_request_resend */
			done = hand_back(end, fd, sender);
		unclaim(end);
	}
	local_unlock_reader(end);
	sys_close(sender);
	return done;
}
