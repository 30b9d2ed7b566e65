/* Section 4: taking bytes from the carrier whose turn it is, over changes of carrier, and believing the end.
 * Called by wait/block.c. Lock: the reader's, held over every function here but the entry points. */
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/crash.h"
#include "base/lock.h"
#include "base/sys.h"
#include "local/end.h"
#include "local/offset.h"
#include "shm/arena.h"

/* What a step may say besides bytes, end (0) and a negative errno. */
#define LOOK_AGAIN (-10000)

/* How far a peek looks behind kernel bytes that come before a ring's: pieces, all of them in the same place. */
#define PEEK_SCRAP_BYTES 1024
#define PEEK_SCRAPS_MAX 64
#define RECEIVE_PIECES_MAX 64

void local_lock_reader(struct local_end *end)
{
	uint64_t head;

	if (likely(!lock_acquire(&end->socket->reader_lock)))
		return;
	count(counter_lock_takeovers, 1);
	head = load_acquire(&end->rx->head);
	while (!compare_swap(&end->rx->head, &head,
	                     (head & (SHM_HEAD_TAKEN | SHM_OFFSET_MASK)) | lock_generation(end->socket->reader_lock)
	                                                                       << SHM_GENERATION_SHIFT))
		;
	local_claim_of_dead(end);
}

void local_unlock_reader(struct local_end *end)
{
	lock_release(&end->socket->reader_lock);
}

uint64_t local_ring_unread(const struct local_end *end)
{
	uint64_t head = load_acquire(&end->rx->head);

	if (head & SHM_HEAD_TAKEN || end->lost || local_is_relayed(end))
		return 0;
	return (load_acquire(&end->rx->tail) - head) & SHM_OFFSET_MASK;
}

/* Bytes of [at, tail) that no kernel byte keeps waiting: a turn of the kernel must have come as a whole (section 5). */
static uint64_t readable_over_changes(const struct local_end *end, int fd, uint64_t taken, uint64_t changes,
                                      uint64_t at, uint64_t tail)
{
	uint64_t reached = at;

	for (uint64_t turn = taken; turn < changes && turn - taken < SHM_CHANGES_MAX; turn++) {
		uint64_t offset = load_relaxed(&end->rx->change_offset[(turn + 1) % SHM_CHANGES_MAX]);

		if (turn & 1)
			reached = offset;
		else if (!offset_has_arrived(fd, offset))
			return (reached - at) & SHM_OFFSET_MASK;
	}
	return ((changes & 1 ? tail : reached) - at) & SHM_OFFSET_MASK;
}

uint64_t local_ring_readable(const struct local_end *end, int fd)
{
	uint64_t taken = load_acquire(&end->rx->changes_taken);
	uint64_t head = load_acquire(&end->rx->head);
	uint64_t tail = load_acquire(&end->rx->tail);
	uint64_t changes = load_acquire(&end->rx->change_count);
	uint64_t unread = (tail - head) & SHM_OFFSET_MASK;

	if (!unread || head & SHM_HEAD_TAKEN || end->lost || local_is_relayed(end))
		return 0;
	if (likely(taken == changes && taken & 1) || load_relaxed(&end->socket->flags) & SOCK_LEFTOVER)
		return unread;
	return readable_over_changes(end, fd, taken, changes, head & SHM_OFFSET_MASK, tail);
}

int local_readable(const struct local_end *end)
{
	return local_ring_unread(end) || (load_relaxed(&end->socket->pending_error) && !local_is_relayed(end));
}

/* -- the ring --------------------------------------------------------------------------------------------------------- */

static int copy_out(struct local_end *end, uint64_t offset, uint8_t *to, size_t bytes)
{
	size_t at = offset & (end->ring_bytes - 1);
	size_t first = end->ring_bytes - at < bytes ? end->ring_bytes - at : bytes;

	if (copy_guarded(to, end->rx_ring + at, first))
		return -1;
	return first < bytes ? copy_guarded(to + first, end->rx_ring, bytes - first) : 0;
}

/* Copies [offset, offset + available) into the cursor. Bytes, or -EFAULT when there were none. */
static long drain(struct local_end *end, uint64_t offset, uint64_t available, struct cursor *to)
{
	uint64_t done = 0;

	while (done < available) {
		size_t bytes;
		uint8_t *piece = cursor_piece(to, &bytes);

		if (!bytes)
			break;
		if (bytes > available - done)
			bytes = available - done;
		if (!to->discard && unlikely(copy_out(end, (offset + done) & SHM_OFFSET_MASK, piece, bytes)))
			return done ? (long)done : -EFAULT;
		cursor_advance(to, bytes);
		done += bytes;
	}
	return (long)done;
}

/* Moves `head` over what was copied. The sender sets TAKEN in it only where `tail`, loaded under this holding of the
 * reader's lock, had NEVER (local_request_resend; models/head_store.pml): else nobody but us writes it. */
static int head_move(struct local_end *end, uint64_t head, uint64_t tail, uint64_t moved)
{
	uint64_t next = (head & ~(uint64_t)SHM_OFFSET_MASK) | moved;

	if (unlikely(tail & SHM_TAIL_NEVER))
		return compare_swap(&end->rx->head, &head, next);
	store_release(&end->rx->head, next);
	return 1;
}

/* Takes bytes up to ring offset `limit`; LOOK_AGAIN where the sender took them back, or cannot have written so many. */
static long ring_take(struct local_end *end, uint64_t head, uint64_t tail, uint64_t limit, struct cursor *to)
{
	uint64_t offset = head & SHM_OFFSET_MASK, available = (limit - offset) & SHM_OFFSET_MASK;
	struct cursor before = *to;
	uint64_t moved;
	long taken;

	if (unlikely(available > end->ring_bytes)) {
		local_protocol_error(end);
		return LOOK_AGAIN;
	}
	taken = drain(end, offset, available, to);
	moved = (offset + (uint64_t)taken) & SHM_OFFSET_MASK;
	if (taken <= 0)
		return taken;
	CRASH_POINT(recv_copied);
	if (unlikely(!head_move(end, head, tail, moved))) {
		*to = before;
		return LOOK_AGAIN;
	}
	store_relaxed(&end->socket->last_ring_received_bytes, moved);
	CRASH_POINT(recv_taken);
	return taken;
}

/* No sender is so many changes ahead of us (may_move_to_ring in send.c). */
static int changes_are_nonsense(struct local_end *end, uint64_t taken, uint64_t changes)
{
	if (likely(changes - taken <= SHM_CHANGES_MAX))
		return 0;
	local_protocol_error(end);
	return 1;
}

static void pass_change(struct local_end *end, uint64_t taken)
{
	store_release(&end->rx->changes_taken, taken + 1);
	end->socket->changes_taken = taken + 1;
	CRASH_POINT(recv_change_taken);
}

/* -- the end ---------------------------------------------------------------------------------------------------------- */

/* What the kernel says when nothing is there: LOOK_AGAIN (bytes), -EAGAIN, 0 (end), or an error, which it has forgotten. */
static long kernel_peek(int fd)
{
	char byte;
	long peeked = sys_recvfrom(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return peeked > 0 ? LOOK_AGAIN : peeked;
}

/* A sender that died while it took bytes back: the rest of them is still in the ring. */
static int recover_taken_back(struct local_end *end, int fd)
{
	uint64_t head = load_acquire(&end->rx->head);
	uint64_t changes = load_acquire(&end->rx->change_count);
	uint64_t received = 0, resent = 0;

	if (!(head & SHM_HEAD_TAKEN)) { /* it may have cleared TAKEN, and not recorded that the ring goes on */
		if (changes & 1 || load_relaxed(&end->rx->changes_taken) != changes || !local_ring_unread(end))
			return 0;
		fetch_or(&end->socket->flags, SOCK_LEFTOVER);
		return 1;
	}
	if (!(changes & 1) && !offset_received(fd, end->socket->kernel_taken, &received))
		resent = received - end->rx->change_offset[(changes - 1) % SHM_CHANGES_MAX];
	if (resent > ((load_acquire(&end->rx->tail) - head) & SHM_OFFSET_MASK))
		resent = (load_acquire(&end->rx->tail) - head) & SHM_OFFSET_MASK;
	if (!compare_swap(&end->rx->head, &head,
	                  (head & ~(uint64_t)(SHM_HEAD_TAKEN | SHM_OFFSET_MASK)) | ((head + resent) & SHM_OFFSET_MASK)))
		return 0;
	fetch_or(&end->socket->flags, SOCK_LEFTOVER);
	return 1;
}

/* The kernel said end (0) or an error, and nothing comes before it any more: what the program is told. */
static long end_as_told(struct local_end *end, int fd, long said)
{
	local_lock_writer(end);
	if (said < 0)
		local_peer_reset(end);
	else
		local_peer_gone(end, fd);
	local_unlock_writer(end);
	switch (load_relaxed(&end->socket->pending_error)) {
	case 0:
		return said;
	case EPIPE: /* FIN had come before the reset: who receives is shown the end, who sends or asks the error */
		return 0;
	default:
		return -(long)exchange(&end->socket->pending_error, 0);
	}
}

/* The kernel said end (0) or an error. It is believed only if nothing was published or changed before it. */
static long believe_end(struct local_end *end, int fd, long said, uint64_t mark)
{
	if (said == LOOK_AGAIN || said == -EAGAIN)
		return said;
	if (local_rx_mark(end) != mark || recover_taken_back(end, fd) || local_ring_unread(end)) {
		if (said < 0)
			store_release(&end->socket->pending_error, (uint32_t)-said);
		return LOOK_AGAIN;
	}
	return end_as_told(end, fd, said);
}

/* -- steps ------------------------------------------------------------------------------------------------------------ */

/* The ring's turn, and it is empty: nothing, unless the peer is gone. */
static long ring_empty(struct local_end *end, int fd, int hurried)
{
	uint64_t mark;
	long said;

	if (hurried && local_asked_lately(end))
		return -EAGAIN;
	if (unlikely(local_claim_has_broken(end)))
		return LOOK_AGAIN;
	mark = local_rx_mark(end);
	if (local_ring_unread(end))
		return LOOK_AGAIN;
	said = believe_end(end, fd, kernel_peek(fd), mark);
	if (said != -EAGAIN)
		store_relaxed(&end->asked_ticks, 0); /* an end stays one */
	return said;
}

/* A distance to a change that lies behind `head`: its sender has taken bytes back (section 7). */
static int is_behind(uint64_t distance)
{
	return distance > SHM_OFFSET_MASK / 2;
}

static long ring_turn(struct local_end *end, int fd, uint64_t head, uint64_t tail, uint64_t taken, uint64_t changes,
                      struct cursor *to, int hurried)
{
	uint64_t offset = head & SHM_OFFSET_MASK;
	uint64_t limit = SHM_OFFSET_MASK & (taken < changes ? end->rx->change_offset[(taken + 1) % SHM_CHANGES_MAX] : tail);
	uint64_t available = (limit - offset) & SHM_OFFSET_MASK;

	if (taken < changes && (available == 0 || is_behind(available))) {
		pass_change(end, taken);
		return LOOK_AGAIN;
	}
	if (available == 0 || unlikely(head & SHM_HEAD_TAKEN))
		return ring_empty(end, fd, hurried);
	return ring_take(end, head, tail, limit, to);
}

/* At most `most` bytes in one system call, as by the program's own: the kernel answers a segment as it is read. */
static long kernel_receive_all(int fd, uint64_t most, struct cursor *to, int flags)
{
	struct iovec pieces[RECEIVE_PIECES_MAX];
	struct msghdr message = {.msg_iov = pieces};
	size_t bytes;
	uint8_t *piece = cursor_piece(to, &bytes);

	if (bytes >= most || bytes == to->left)
		return sys_recvfrom(fd, piece, bytes < most ? bytes : most, flags);
	message.msg_iovlen = cursor_pieces(to, most, pieces, RECEIVE_PIECES_MAX);
	return sys_recvmsg(fd, &message, flags);
}

static long kernel_receive(struct local_end *end, int fd, uint64_t most, struct cursor *to)
{
	long received = kernel_receive_all(fd, most, to, MSG_DONTWAIT | (to->discard ? MSG_TRUNC : 0));

	if (received > 0) {
		cursor_advance_over(to, (size_t)received);
		end->socket->kernel_taken += (uint64_t)received;
		store_relaxed(&end->acknowledgement_due, 1);
	}
	CRASH_POINT(recv_kernel_received);
	return received;
}

/* SIOCINQ stops at urgent data, which bytes_received counts. */
static int has_urgent(struct local_end *end, int fd)
{
	return load_relaxed(&end->socket->flags) & SOCK_URGENT || offset_has_urgent(fd);
}

/* Also where the change to it is known and not passed. */
static int is_kernels_turn(const struct local_end *end)
{
	uint64_t taken = load_relaxed(&end->rx->changes_taken), next = taken + 1;

	if (!(taken & 1))
		return 1;
	return load_acquire(&end->rx->change_count) == next &&
	       !((load_relaxed(&end->rx->change_offset[next % SHM_CHANGES_MAX]) ^ load_relaxed(&end->rx->head)) &
	         SHM_OFFSET_MASK);
}

int local_is_at_mark(struct local_end *end, int fd)
{
	int at = 0;

	return is_kernels_turn(end) && !sys_ioctl(fd, SIOCATMARK, &at) && at;
}

int local_peek_meets_mark(struct local_end *end, int fd, size_t peeked)
{
	long waiting = offset_waiting(fd);

	return waiting >= 0 && peeked >= local_ring_unread(end) + (uint64_t)waiting && has_urgent(end, fd);
}

int local_kernel_position(struct local_end *end, int fd, uint64_t *position)
{
	int error = offset_received(fd, end->socket->kernel_taken, position);

	if (!error && *position != end->socket->kernel_taken && has_urgent(end, fd))
		*position = end->socket->kernel_taken;
	if (!error)
		end->socket->kernel_taken = *position;
	return error;
}

void local_count_from_here(struct local_end *end, int fd)
{
	local_lock_reader(end);
	offset_received(fd, end->socket->kernel_taken, &end->socket->kernel_taken);
	store_relaxed(&end->acknowledgement_due, 1);
	local_unlock_reader(end);
}

/* The kernel's turn, up to a change that is known. */
static long kernel_until_change(struct local_end *end, int fd, uint64_t taken, struct cursor *to, int have)
{
	uint64_t limit = end->rx->change_offset[(taken + 1) % SHM_CHANGES_MAX];
	uint64_t position;
	int error = local_kernel_position(end, fd, &position);
	long received;

	if (error)
		return error;
	if (position >= limit) {
		pass_change(end, taken);
		return LOOK_AGAIN;
	}
	if (have && offset_waiting(fd) <= 0) /* an error is for the next call */
		return -EAGAIN;
	received = kernel_receive(end, fd, limit - position, to);
	if (received == -EAGAIN || received == -EFAULT || received > 0 || !to->left)
		return received;
	end->lost = 1; /* the sender's kernel has thrown bytes away, as at a reset: those behind them are gone too */
	return end_as_told(end, fd, received); /* an error that the kernel had may have been taken by who found the reset */
}

/* Bytes of the kernel that are left, after others were lost. */
static long receive_after_loss(struct local_end *end, int fd, struct cursor *to)
{
	long received = kernel_receive(end, fd, UINT64_MAX, to);

	if (received == -EAGAIN || received == -EFAULT || received > 0 || !to->left)
		return received;
	return end_as_told(end, fd, received);
}

/* No ring segment can follow: the kernel's rules alone count, with urgent data and all. */
static int stays_with_kernel(const struct local_end *end)
{
	uint64_t head = load_acquire(&end->rx->head), tail = load_acquire(&end->rx->tail);

	if ((head ^ tail) & SHM_OFFSET_MASK || head & SHM_HEAD_TAKEN)
		return 0;
	return load_acquire(&end->rx->kernel_for_good) || tail & SHM_TAIL_NEVER;
}

/* Urgent data is next: a receive passes it, also where nothing follows it yet; and SIOCINQ, which stops before it, says 0.
 * What a peek has counted before the look at change_count lies before the next change. */
static long receive_behind_mark(struct local_end *end, int fd, uint64_t changes, uint64_t mark, struct cursor *to)
{
	long behind = sys_recvfrom(fd, NULL, INT_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	long received;

	if (load_acquire(&end->rx->change_count) != changes)
		return LOOK_AGAIN;
	received = kernel_receive(end, fd, behind > 0 ? (uint64_t)behind : 1, to);
	return received > 0 || received == -EFAULT ? received : believe_end(end, fd, received, mark);
}

static long kernel_turn(struct local_end *end, int fd, uint64_t taken, uint64_t changes, struct cursor *to, int have)
{
	uint64_t mark;
	long waiting;

	if (unlikely(local_claim_has_broken(end)))
		return LOOK_AGAIN;
	if (taken < changes)
		return kernel_until_change(end, fd, taken, to, have);
	if (have && (offset_waiting(fd) <= 0 || local_is_at_mark(end, fd))) /* an end or an error is for the next call */
		return -EAGAIN;
	if ((!to->left || stays_with_kernel(end)) && load_acquire(&end->rx->change_count) == changes) {
		mark = local_rx_mark(end);
		waiting = kernel_receive(end, fd, UINT64_MAX, to);
		if (waiting > 0 || waiting == -EFAULT || (!waiting && !to->left))
			return waiting;
		return believe_end(end, fd, waiting, mark);
	}
	waiting = offset_waiting(fd);
	mark = local_rx_mark(end);
	if (load_acquire(&end->rx->change_count) != changes)
		return LOOK_AGAIN;
	if (waiting > 0)
		return kernel_receive(end, fd, (uint64_t)waiting, to);
	if (waiting < 0)
		return waiting;
	if (local_is_at_mark(end, fd))
		return receive_behind_mark(end, fd, changes, mark, to);
	return believe_end(end, fd, kernel_peek(fd), mark);
}

/* The order of the loads counts: a head and a tail from before the look at change_count belong to its segment. */
static long recv_step(struct local_end *end, int fd, struct cursor *to, int hurried, int have)
{
	uint64_t taken = load_relaxed(&end->rx->changes_taken);
	uint64_t head = load_acquire(&end->rx->head);
	uint64_t tail = load_acquire(&end->rx->tail);
	uint64_t changes = load_acquire(&end->rx->change_count);

	if (unlikely(load_relaxed(&end->left)))
		return -(long)exchange(&end->socket->pending_error, 0);
	if (unlikely(end->lost))
		return receive_after_loss(end, fd, to);
	if (unlikely(changes_are_nonsense(end, taken, changes)))
		return LOOK_AGAIN;
	if (unlikely(load_relaxed(&end->socket->flags) & SOCK_LEFTOVER) && (head ^ tail) & SHM_OFFSET_MASK)
		return ring_take(end, head, tail, tail, to);
	if (taken & 1)
		return ring_turn(end, fd, head, tail, taken, changes, to, hurried);
	return kernel_turn(end, fd, taken, changes, to, have);
}

/* More after a take: only where a change of carrier is known, or a kernel receive filled its piece of the buffers. */
static int may_have_more(const struct local_end *end, const struct cursor *to)
{
	uint64_t taken = load_relaxed(&end->rx->changes_taken);

	if (taken != load_acquire(&end->rx->change_count))
		return 1;
	return !(taken & 1) && to->count && to->offset == to->pieces->iov_len;
}

static long recv_all(struct local_end *end, int fd, struct cursor *to, int hurried)
{
	size_t wanted = to->left;

	for (;;) {
		long step = recv_step(end, fd, to, hurried, to->left != wanted);

		if (step == LOOK_AGAIN)
			continue;
		if (step <= 0) {
			if (to->left == wanted)
				return step;
			local_keep_error(end, step);
			return (long)(wanted - to->left);
		}
		if (!to->left || !may_have_more(end, to))
			return (long)(wanted - to->left);
	}
}

/* -- MSG_PEEK: the bytes of this turn and of those that follow, none of them taken --------------------------------------- */

/* At most `most` bytes of the kernel's queue behind its first `skip`. Bytes, or a negative errno. */
static long kernel_peek_behind(int fd, uint64_t skip, uint64_t most, struct cursor *to)
{
	uint8_t scrap[PEEK_SCRAP_BYTES];
	struct iovec pieces[PEEK_SCRAPS_MAX + 1];
	struct msghdr message = {.msg_iov = pieces};
	long peeked;

	for (uint64_t left = skip; left; message.msg_iovlen++) {
		size_t bytes = left < sizeof(scrap) ? left : sizeof(scrap);

		if (message.msg_iovlen == PEEK_SCRAPS_MAX)
			return -EAGAIN;
		pieces[message.msg_iovlen] = (struct iovec){scrap, bytes};
		left -= bytes;
	}
	message.msg_iovlen += cursor_pieces(to, most, pieces + message.msg_iovlen, 1);
	peeked = sys_recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | (to->discard ? MSG_TRUNC : 0));
	if (peeked < 0 || (uint64_t)peeked <= skip)
		return peeked < 0 ? peeked : 0;
	cursor_advance(to, (size_t)peeked - skip);
	return peeked - (long)skip;
}

/* One kernel segment of `length` bytes behind `*skip`: peeks until it, the cursor or the queue is used up. */
static long peek_kernel_segment(int fd, uint64_t *skip, uint64_t length, struct cursor *to)
{
	uint64_t done = 0;

	while (done < length && to->left) {
		long peeked = kernel_peek_behind(fd, *skip, length - done, to);

		if (peeked <= 0)
			return done ? (long)done : peeked;
		done += (uint64_t)peeked;
		*skip += (uint64_t)peeked;
	}
	return (long)done;
}

/* All turns from `taken` on, in order. `position`: of the kernel's stream. */
static long peek_turns(struct local_end *end, int fd, uint64_t taken, uint64_t position, struct cursor *to)
{
	uint64_t ring_at = load_acquire(&end->rx->head) & SHM_OFFSET_MASK;
	uint64_t tail = load_acquire(&end->rx->tail) & SHM_OFFSET_MASK;
	uint64_t changes = load_acquire(&end->rx->change_count);
	size_t wanted = to->left;
	uint64_t skip = 0;
	long step = 0;

	for (uint64_t turn = taken; turn <= changes && turn - taken <= SHM_CHANGES_MAX && to->left; turn++) {
		uint64_t limit = turn < changes ? end->rx->change_offset[(turn + 1) % SHM_CHANGES_MAX] : UINT64_MAX;
		uint64_t length = turn & 1 ? ((turn < changes ? limit : tail) - ring_at) & SHM_OFFSET_MASK
		                           : (turn < changes ? limit - position : UINT64_MAX);

		if (turn & 1 && turn < changes && is_behind(length)) /* its bytes were taken back */
			length = 0;
		if (turn & 1 && unlikely(length > end->ring_bytes)) {
			local_protocol_error(end); /* the next receive tells of it */
			step = -EAGAIN;
			break;
		}
		if (!(turn & 1) && to->left < wanted && offset_waiting(fd) <= (long)skip) /* an error is for the next call */
			break;
		step = turn & 1 ? drain(end, ring_at, length, to) : peek_kernel_segment(fd, &skip, length, to);
		if (step < 0 || (uint64_t)step < length)
			break;
		if (turn & 1)
			ring_at += length;
		else
			position += length;
	}
	return to->left < wanted ? (long)(wanted - to->left) : step;
}

/* Of the change after turn `taken`, which the sender has counted. */
static int change_is_ahead(const struct local_end *end, uint64_t taken)
{
	uint64_t offset = end->rx->change_offset[(taken + 1) % SHM_CHANGES_MAX];
	uint64_t distance = (offset - load_relaxed(&end->rx->head)) & SHM_OFFSET_MASK;

	return distance && !is_behind(distance);
}

/* Passes changes that are due and finds out whether anything is there, without taking a byte. */
static long peek_settle(struct local_end *end, int fd)
{
	for (;;) {
		uint64_t taken = load_relaxed(&end->rx->changes_taken);
		uint64_t changes = load_acquire(&end->rx->change_count);
		uint64_t position;

		if (unlikely(load_relaxed(&end->left)))
			return -(long)exchange(&end->socket->pending_error, 0);
		if (unlikely(changes_are_nonsense(end, taken, changes)))
			continue;
		if (taken & 1) {
			if (local_ring_unread(end) && (taken == changes || change_is_ahead(end, taken)))
				return 1;
			if (taken == changes || load_relaxed(&end->rx->head) & SHM_HEAD_TAKEN) {
				long said = ring_empty(end, fd, 0);

				if (said == LOOK_AGAIN)
					continue;
				return said;
			}
			pass_change(end, taken);
			continue;
		}
		if (taken == changes) {
			uint64_t mark = local_rx_mark(end);
			long said = kernel_peek(fd);

			if (said == LOOK_AGAIN || local_ring_unread(end))
				return 1;
			said = believe_end(end, fd, said, mark);
			if (said == LOOK_AGAIN)
				continue;
			return said;
		}
		if (local_kernel_position(end, fd, &position))
			return -EAGAIN;
		if (position < end->rx->change_offset[(taken + 1) % SHM_CHANGES_MAX])
			return 1;
		pass_change(end, taken);
	}
}

static long recv_peek(struct local_end *end, int fd, struct cursor *to)
{
	long settled = peek_settle(end, fd);
	uint64_t taken = load_relaxed(&end->rx->changes_taken);
	uint64_t position = 0;

	if (settled <= 0)
		return settled;
	if (taken & 1)
		position = end->rx->change_offset[taken % SHM_CHANGES_MAX];
	else if (local_kernel_position(end, fd, &position))
		return -EAGAIN;
	return peek_turns(end, fd, taken, position, to);
}

/* By the relay's connection, of which our socket's counts know nothing. */
static long relayed_receive(int fd, struct cursor *to, int flags)
{
	long received =
		kernel_receive_all(fd, UINT64_MAX, to, (flags & MSG_PEEK) | MSG_DONTWAIT | (to->discard ? MSG_TRUNC : 0));

	if (received > 0)
		cursor_advance_over(to, (size_t)received);
	return received;
}

long local_recv(struct local_end *end, int fd, struct cursor *to, int flags)
{
	long result;

	local_lock_reader(end);
	if (unlikely(local_is_relayed(end)))
		result = relayed_receive(fd, to, flags);
	else if (unlikely(flags & MSG_PEEK))
		result = recv_peek(end, fd, to);
	else
		result = recv_all(end, fd, to, !(flags & MSG_DONTWAIT)); /* who waits is told of an end while he waits */
	local_unlock_reader(end);
	return result;
}
