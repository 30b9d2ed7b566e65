/* Section 3: which carrier a byte takes, and how it is published. Called by wait/block.c; calls ends.c for what is unusual.
 * Lock: the writer's, held over every function here but local_send itself. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/crash.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/sys.h"
#include "local/end.h"
#include "local/offset.h"
#include "shm/arena.h"

#define SEND_PIECES_MAX 1024 /* UIO_MAXIOV */
#define PUBLISH_BYTES_MIN 4096
#define WHOLE_BYTES_MAX 16384 /* Linux shows it all at once, whoever looks */
#define WHOLE_BYTES_MAX_WATCHED 32768 /* the same to epoll sets: one edge */
#define WHOLE_BYTES_MAX_ASLEEP 65536 /* the same to who sleeps */
#define BACK_OFF_US_MIN 100
#define BACK_OFF_US_MAX 20000
#define RING_LASTED 8 /* times the last back-off: that one is forgotten */
#define AGAIN 0 /* of a step: nothing sent, look again */

void local_lock_writer(struct local_end *end)
{
	uint64_t tail;

	if (likely(!lock_acquire(&end->socket->writer_lock)))
		return;
	count(counter_lock_takeovers, 1);
	tail = load_acquire(&end->tx->tail);
	while (!compare_swap(&end->tx->tail, &tail,
	                     (tail & (SHM_TAIL_REVOKED | SHM_TAIL_NEVER | SHM_OFFSET_MASK)) |
	                         lock_generation(end->socket->writer_lock) << SHM_GENERATION_SHIFT))
		;
	fetch_or(&end->socket->flags, SOCK_WRITER_DIED);
}

void local_unlock_writer(struct local_end *end)
{
	lock_release(&end->socket->writer_lock);
}

/* -- waking --------------------------------------------------------------------------------------------------------- */

/* In ready bitmap k of the peer: the channel's bit, then that of the word's group, by which its owner finds the word. Each
 * OR is a full fence. */
static void post_ready(struct shm_pair_end *peer, uint32_t k, uint32_t channel)
{
	uint32_t word = channel / 64 % SHM_READY_WORDS, group = 1u << word / SHM_READY_GROUP;
	uint64_t *bits = &peer->ready[k * SHM_READY_WORDS + word], bit = 1ull << channel % 64;

	if (!(load_relaxed(bits) & bit))
		fetch_or(bits, bit);
	if (word && !(load_relaxed(&peer->ready_groups[k]) & group))
		fetch_or(&peer->ready_groups[k], group);
}

/* Posts to the epoll sets that watch: the bit, then whether the set sleeps. */
static void wake_watchers(struct local_end *end, uint32_t watchers)
{
	struct shm_pair_end *peer = pair_peer(end->pair);
	uint32_t ring = 0;

	for (uint32_t k = 0; k < SHM_BELLS_MAX; k++) {
		if (!(watchers & 1u << k))
			continue;
		post_ready(peer, k, end->channel);
		if (load_acquire(&peer->set_sleep_mask) & 1u << k)
			ring |= 1u << k;
	}
	CRASH_POINT(send_woken_half);
	if (ring)
		pair_ring(end->pair, fetch_and(&peer->set_sleep_mask, ~ring) & ring);
}

/* After a publishing compare-and-swap, which is the fence between the bytes and the look at the sleepers. */
void local_wake_peer(struct local_end *end)
{
	uint32_t watchers = load_relaxed(&end->tx->watch_mask);

	if (load_relaxed(&end->tx->sleep_mask))
		pair_ring(end->pair, exchange(&end->tx->sleep_mask, 0));
	if (watchers)
		wake_watchers(end, watchers);
}

/* A call's bytes are told of together, when all are published or before the sender waits. */
static inline void wake_if_due(struct local_end *end)
{
	if (!end->wake_due)
		return;
	end->wake_due = 0;
	local_wake_peer(end);
}

/* -- carriers ------------------------------------------------------------------------------------------------------- */

static void record_change(struct local_end *end, uint64_t offset)
{
	uint64_t next = load_relaxed(&end->tx->change_count) + 1;

	store_relaxed(&end->tx->change_offset[next % SHM_CHANGES_MAX], offset);
	CRASH_POINT(send_offset_recorded);
	store_release(&end->tx->change_count, next);
	CRASH_POINT(send_change_counted);
}

/* Twice as long as the last time, but for a ring that was of use for long in between. */
static void back_off(struct local_end *end)
{
	uint64_t now = cpu_ticks();
	uint64_t longer = end->back_off_us * 2;

	if (longer < BACK_OFF_US_MIN || now - end->back_off_until > clock_ticks_of_us(end->back_off_us * RING_LASTED))
		longer = BACK_OFF_US_MIN;
	end->back_off_us = longer > BACK_OFF_US_MAX ? BACK_OFF_US_MAX : longer;
	end->back_off_until = now + clock_ticks_of_us(end->back_off_us);
}

void local_move_to_kernel(struct local_end *end)
{
	if (!(load_relaxed(&end->tx->change_count) & 1) || local_is_relayed(end))
		return;
	local_sender_enter(end);
	if (load_relaxed(&end->tx->change_count) & 1) {
		record_change(end, load_acquire(&end->tx->tail) & SHM_OFFSET_MASK);
		end->socket->moves_to_kernel++;
		count(counter_moves_to_kernel, 1);
		back_off(end);
	}
	local_sender_leave(end);
}

static int ring_is_wanted(struct local_end *end, uint64_t tail)
{
	if (tail & SHM_TAIL_REVOKED ||
	    load_relaxed(&end->socket->flags) & (SOCK_TX_KERNEL | SOCK_CORKED | SOCK_WRITER_DIED))
		return 0;
	return !load_relaxed(&end->tx->resend_wanted);
}

static int may_move_to_ring(struct local_end *end)
{
	/* Every earlier change passed: at most three are ever pending (here, on, and back with bytes taken back). */
	if (load_relaxed(&end->tx->change_count) != load_acquire(&end->tx->changes_taken))
		return 0;
	return !end->back_off_until || cpu_ticks() >= end->back_off_until;
}

/* A receiver that hands back writes the changes too: it is kept out, or has been here, and the ring is revoked for good. */
static int move_to_ring(struct local_end *end, int fd)
{
	uint64_t offset;
	int moved = 0;

	CRASH_POINT(send_before_offset);
	local_sender_enter(end);
	if (may_move_to_ring(end) && ring_is_wanted(end, load_acquire(&end->tx->tail)) && !offset_sent(fd, &offset)) {
		record_change(end, offset);
		end->socket->moves_to_ring++;
		count(counter_moves_to_ring, 1);
		moved = 1;
	}
	local_sender_leave(end);
	return moved;
}

/* -- sending -------------------------------------------------------------------------------------------------------- */

/* Room, from `head` as last seen where that is enough for `wanted`. */
static uint64_t ring_room(struct local_end *end, uint64_t tail, uint64_t wanted)
{
	uint64_t used = ((tail & SHM_OFFSET_MASK) - end->head_seen) & SHM_OFFSET_MASK;
	uint64_t head;

	if (likely(used <= end->ring_bytes && end->ring_bytes - used >= wanted)) /* the peer can write `tail` too */
		return end->ring_bytes - used;
	head = load_acquire(&end->tx->head) & SHM_OFFSET_MASK;
	used = ((tail & SHM_OFFSET_MASK) - head) & SHM_OFFSET_MASK;
	if (unlikely(used > end->ring_bytes)) {
		local_protocol_error(end);
		return 0;
	}
	end->head_seen = head;
	return end->ring_bytes - used;
}

/* Waits a little for a receiver that is reading, until there is room for `needed`; 0: it does not come. */
static uint64_t wait_for_room(struct local_end *end, uint64_t tail, uint64_t needed)
{
	uint64_t start;
	uint64_t budget = clock_ticks_of_us((uint64_t)options.overflow_spin_us);
	uint64_t seen = end->head_seen;

	if (!budget || needed > end->ring_bytes)
		return 0;
	wake_if_due(end);
	start = cpu_ticks();
	while (cpu_ticks() - start < budget) {
		uint64_t head = load_acquire(&end->tx->head) & SHM_OFFSET_MASK;
		uint64_t room = head == seen ? 0 : ring_room(end, tail, needed);

		if (room >= needed)
			return room;
		seen = head;
		if (load_relaxed(&end->tx->tail) & SHM_TAIL_REVOKED)
			return 0;
		cpu_pause();
	}
	return 0;
}

/* There is room for less than `left`. What may be published of it; 0: it goes by the kernel, as a whole. */
static uint64_t room_for_more(struct local_end *end, uint64_t tail, uint64_t room, uint64_t left)
{
	if (left <= WHOLE_BYTES_MAX_ASLEEP && load_relaxed(&end->tx->sleep_mask)) /* and makes no room */
		return 0;
	if (left <= (load_relaxed(&end->tx->watch_mask) ? WHOLE_BYTES_MAX_WATCHED : WHOLE_BYTES_MAX))
		return wait_for_room(end, tail, left);
	return room ? room : wait_for_room(end, tail, 1);
}

static int copy_in(struct local_end *end, uint64_t offset, const uint8_t *from, size_t bytes)
{
	size_t at = offset & (end->ring_bytes - 1);
	size_t first = end->ring_bytes - at < bytes ? end->ring_bytes - at : bytes;

	if (copy_guarded(end->tx_ring + at, from, first))
		return -1;
	return first < bytes ? copy_guarded(end->tx_ring, from + first, bytes - first) : 0;
}

/* Fills at most `room` bytes of the ring from the cursor without publishing. Bytes, or -EFAULT when there were none. */
static long fill_ring(struct local_end *end, uint64_t tail, uint64_t room, struct cursor *from)
{
	uint64_t filled = 0;

	while (filled < room) {
		size_t bytes;
		const uint8_t *piece = cursor_piece(from, &bytes);

		if (!bytes)
			break;
		if (bytes > room - filled)
			bytes = room - filled;
		if (unlikely(copy_in(end, (tail + filled) & SHM_OFFSET_MASK, piece, bytes)))
			return filled ? (long)filled : -EFAULT;
		cursor_advance(from, bytes);
		filled += bytes;
	}
	return (long)filled;
}

/* What fits is published at once, as Linux would queue it; of more, pieces, so that the receiver can begin. */
static uint64_t publish_limit(const struct local_end *end, uint64_t room, uint64_t left)
{
	uint64_t piece = end->ring_bytes / 4 > PUBLISH_BYTES_MIN ? end->ring_bytes / 4 : PUBLISH_BYTES_MIN;

	return left <= room || room < piece ? room : piece;
}

/* One publication. AGAIN when the carrier has changed under our hands. */
static long ring_step(struct local_end *end, uint64_t tail, struct cursor *from)
{
	uint64_t room = ring_room(end, tail, from->left);
	struct cursor before = *from;
	long filled;

	if (unlikely(room < from->left))
		room = room_for_more(end, tail, room, from->left);
	if (unlikely(!room)) {
		local_move_to_kernel(end);
		CRASH_POINT(send_overflow_recorded);
		count(counter_overflows, 1);
		return AGAIN;
	}
	filled = fill_ring(end, tail & SHM_OFFSET_MASK, publish_limit(end, room, from->left), from);
	if (unlikely(filled < 0))
		return filled;
	CRASH_POINT(send_copied);
	if (unlikely(!compare_swap(&end->tx->tail, &tail,
	                           (tail & ~(uint64_t)SHM_OFFSET_MASK) | ((tail + (uint64_t)filled) & SHM_OFFSET_MASK)))) {
		*from = before;
		return AGAIN;
	}
	CRASH_POINT(send_published);
	end->wake_due = 1;
	tail = (tail + (uint64_t)filled) & SHM_OFFSET_MASK;
	store_relaxed(&end->socket->last_ring_sent_bytes, tail);
	/* The line that the next send writes was last read by the other processor: its copy is ended while nobody waits for it. */
	cpu_prefetch_write(end->tx_ring + (tail & (end->ring_bytes - 1)));
	return filled;
}

/* Apart: much stack, which a thread may have little of. */
__attribute__((noinline)) static long kernel_send_vector(int fd, struct cursor *from, int flags)
{
	struct iovec pieces[SEND_PIECES_MAX];
	struct msghdr message = {.msg_iov = pieces};

	message.msg_iovlen = cursor_pieces(from, from->left, pieces, SEND_PIECES_MAX);
	return sys_sendmsg(fd, &message, flags);
}

/* All that is left in one system call: the kernel sends the pieces of a vector together, or none. */
long local_kernel_send(int fd, struct cursor *from, int flags)
{
	size_t bytes = 0;
	const uint8_t *piece = cursor_piece(from, &bytes);

	return bytes == from->left ? sys_sendto(fd, piece, bytes, flags) : kernel_send_vector(fd, from, flags);
}

/* The kernel takes nothing. A reset it has told itself; where it knows of an end only, and our bytes in the ring were unread,
 * that end was a reset too. */
static long refused(struct local_end *end, int fd, long said)
{
	uint32_t error;

	if (said == -ECONNRESET)
		fetch_or(&end->socket->flags, SOCK_GONE | SOCK_TX_KERNEL);
	if (said != -EPIPE || load_relaxed(&end->socket->flags) & SOCK_GONE)
		return said;
	local_peer_gone(end, fd);
	error = exchange(&end->socket->pending_error, 0);
	return error ? -(long)error : said;
}

static long kernel_step(struct local_end *end, int fd, struct cursor *from, int flags)
{
	long sent;

	local_sender_enter(end);
	if (unlikely(load_relaxed(&end->left))) {
		local_sender_leave(end);
		return AGAIN;
	}
	flags |= MSG_DONTWAIT | MSG_NOSIGNAL;
	sent = flags & MSG_OOB ? local_send_urgent(end, fd, from, flags) : local_kernel_send(fd, from, flags);
	local_sender_leave(end);
	CRASH_POINT(send_kernel_sent);
	if (sent <= 0)
		return refused(end, fd, sent);
	cursor_advance_over(from, (size_t)sent);
	store_relaxed(&end->acknowledgement_due, 0); /* a segment carries it */
	if (unlikely(load_relaxed(&end->tx->tell_of_kernel))) {
		cpu_fence();
		end->wake_due = 1;
	}
	if (load_relaxed(&end->socket->flags) & SOCK_CORKED && !(flags & MSG_MORE))
		fetch_and(&end->socket->flags, ~(uint32_t)SOCK_CORKED);
	return sent;
}

int local_asked_lately(struct local_end *end)
{
	uint64_t now = cpu_ticks();

	if (now - load_relaxed(&end->asked_ticks) < clock_ticks_of_us(PAIR_ASK_US))
		return 1;
	store_relaxed(&end->asked_ticks, now);
	return 0;
}

int local_peer_is_well(struct local_end *end)
{
	if (load_relaxed(&end->socket->flags) & SOCK_GONE)
		return 0;
	if (likely(pair_peer_lives(end->pair) && !load_relaxed(&pair_peer(end->pair)->forked)))
		return 1;
	return local_asked_lately(end);
}

/* What we send by the ring carries no acknowledgement of what came by the kernel, as a segment would. Until the delayed one
 * goes, after 40 ms, the peer's kernel may hold back its next small send (Nagle): late, or after our end. */
static void acknowledge(struct local_end *end, int fd)
{
	int once = 2;

	store_relaxed(&end->acknowledgement_due, 0);
	sys_setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &once, sizeof(once));
}

/* The peer's process is gone, or shares its sockets with others: ask this socket. */
static void ask_socket(struct local_end *end, int fd)
{
	struct pollfd asked = {.fd = fd, .events = POLLRDHUP};

	if (sys_poll(&asked, 1, 0) == 1 && asked.revents & (POLLRDHUP | POLLHUP | POLLERR))
		local_peer_gone(end, fd);
}

/* By the kernel, while bytes of ours are unread in the ring: 1 when the peer has died with them, and the error waits. */
static int death_is_a_reset(struct local_end *end, int fd)
{
	if (local_peer_has_unread(end) && !local_peer_is_well(end))
		ask_socket(end, fd);
	return load_relaxed(&end->socket->pending_error) != 0;
}

/* The channel is not ours any more. */
static long left_step(struct local_end *end, int fd, struct cursor *from, int flags)
{
	long sent;

	if (!local_is_relayed(end)) {
		uint32_t error = exchange(&end->socket->pending_error, 0);

		return error ? -(long)error : -EPIPE;
	}
	sent = local_kernel_send(fd, from, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		cursor_advance_over(from, (size_t)sent);
	return sent;
}

/* Sends some of the cursor: bytes, AGAIN, or a negative errno. */
static long send_step(struct local_end *end, int fd, struct cursor *from, int flags)
{
	uint64_t tail = load_acquire(&end->tx->tail);

	if (unlikely(load_relaxed(&end->left)))
		return left_step(end, fd, from, flags);
	if (unlikely(load_relaxed(&end->socket->pending_error)))
		return -(long)exchange(&end->socket->pending_error, 0);
	if (unlikely(!ring_is_wanted(end, tail))) {
		if (unlikely(load_relaxed(&end->socket->flags) & SOCK_WRITER_DIED)) {
			local_take_back_goes_on(end, fd);
			return AGAIN;
		}
		if (unlikely(death_is_a_reset(end, fd)))
			return AGAIN;
		if (load_relaxed(&end->tx->resend_wanted))
			local_take_back(end, fd);
		local_move_to_kernel(end);
		return kernel_step(end, fd, from, flags);
	}
	if (unlikely(!local_sends_by_ring(end)) && (!may_move_to_ring(end) || !move_to_ring(end, fd)))
		return death_is_a_reset(end, fd) ? AGAIN : kernel_step(end, fd, from, flags);
	if (unlikely(!local_peer_is_well(end))) {
		ask_socket(end, fd);
		if (!ring_is_wanted(end, load_acquire(&end->tx->tail)))
			return AGAIN;
	}
	if (unlikely(load_relaxed(&end->acknowledgement_due)))
		acknowledge(end, fd);
	return ring_step(end, tail, from);
}

long local_send(struct local_end *end, int fd, struct cursor *from, int flags)
{
	size_t wanted = from->left;
	long result = 0;

	local_lock_writer(end);
	if (unlikely(load_relaxed(&end->short_waits)))
		store_relaxed(&end->short_waits, 0);
	if (unlikely(flags & MSG_MORE)) /* what the kernel holds back, the kernel lets go */
		fetch_or(&end->socket->flags, SOCK_CORKED);
	while (!result && from->left) {
		long step = send_step(end, fd, from, flags);

		if (step < 0)
			result = step;
	}
	wake_if_due(end);
	local_unlock_writer(end);
	if (from->left == wanted)
		return result;
	local_keep_error(end, result);
	return (long)(wanted - from->left);
}

/* An error that came after bytes is told by the next call, as by the kernel, which has forgotten it by telling us. */
void local_keep_error(struct local_end *end, long error)
{
	if (error < 0 && error != -EAGAIN && error != -EFAULT && error != -EPIPE)
		store_release(&end->socket->pending_error, (uint32_t)-error);
}

int local_peer_has_unread(const struct local_end *end)
{
	return ((load_relaxed(&end->tx->tail) ^ load_relaxed(&end->tx->head)) & SHM_OFFSET_MASK) != 0;
}

int local_sends_by_ring(const struct local_end *end)
{
	return load_relaxed(&end->tx->change_count) & 1;
}
