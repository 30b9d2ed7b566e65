/* One end of a local connection in this process, and the operations of the local transport on it.
 *
 * All operations are non-blocking and may be called by any thread; they take the reader's or the writer's lock of the
 * socket (shm_socket.reader_lock, writer_lock; order: the epoll sets' lock, the reader's, the writer's) and run inside
 * critical sections. Waiting is done above, in wait/. The protocol is docs/local-transport.md; numbers in comments are its
 * sections. */
#ifndef BYWAY_LOCAL_END_H
#define BYWAY_LOCAL_END_H

#include <sys/socket.h>

#include "local/cursor.h"
#include "local/pair.h"
#include "shm/layout.h"

enum local_left {
	LEFT_NOT,
	LEFT_BROKEN, /* nonsense was found in the channel: the connection counts as reset */
	LEFT_TO_RELAY /* a relay has the socket; our descriptors are those of its connection, of the kernel's alone. Set under
	                 both locks: a call that was under way goes on there, and touches nothing of the relay's */
};

struct local_end {
	struct shm_socket *socket; /* our slot in the arena: locks, pending error, statistics */
	struct pair *pair;
	struct shm_channel *shared;
	struct shm_direction *tx; /* we send */
	struct shm_direction *rx; /* we receive */
	uint8_t *tx_ring;
	uint8_t *rx_ring;
	uint64_t ring_bytes;
	uint32_t channel;
	/* under the writer's lock */
	uint64_t head_seen; /* of tx: what the receiver had taken when we last looked */
	uint64_t back_off_until; /* ticks: no move to the ring before */
	uint64_t back_off_us;
	uint32_t wake_due; /* bytes are published that no sleeper has been told of */
	/* enum local_left: the channel is not ours to use any more; by atomics */
	uint32_t left;
	/* under the reader's lock */
	uint32_t lost; /* a reset took kernel bytes away: what follows them in the ring is never shown */
	uint32_t kernel_sleepers; /* threads that sleep without a bell: the ring stays revoked */
	/* any thread, a hint */
	uint64_t asked_ticks; /* when the kernel socket was last asked whether the peer lives */
	uint32_t acknowledgement_due; /* bytes came by the kernel since we last sent: see acknowledge() in send.c */
	uint32_t short_waits; /* receives in a row that waited a moment only, since we last sent: gather() in block.c */
	uint64_t emptied_ticks; /* when one of them last emptied the ring */
};

/* enum sock_flag: shm_socket.flags, changed by atomics */
enum {
	SOCK_NONBLOCK_KNOWN = 1 << 0, /* SOCK_NONBLOCKING is true to the kernel's O_NONBLOCK */
	SOCK_NONBLOCKING = 1 << 1,
	SOCK_ACTIVE = 1 << 2, /* made by connect */
	SOCK_PASSIVE = 1 << 3, /* made by accept */
	SOCK_RX_KERNEL = 1 << 4, /* the direction we receive stays with the kernel for good */
	SOCK_TX_KERNEL = 1 << 5, /* the direction we send stays with the kernel for good */
	SOCK_SHUT = 1 << 6, /* shut down in plain mode: the peer would see an end without a mark, so it never attaches */
	SOCK_GONE = 1 << 7, /* the peer's death has been dealt with */
	SOCK_LOWAT = 1 << 8, /* SO_RCVLOWAT was set */
	SOCK_TIMEOUTS = 1 << 9, /* SO_RCVTIMEO or SO_SNDTIMEO was set */
	SOCK_LEFTOVER = 1 << 10, /* a sender died taking bytes back: what it had not sent is read from the ring */
	SOCK_CORKED = 1 << 11, /* MSG_MORE: by the kernel until a send without it */
	SOCK_URGENT = 1 << 12, /* the program has received urgent data: SIOCINQ may stop at its mark */
	SOCK_URGENT_SENT = 1
	    << 13, /* urgent data has been sent by the engine: another must not make the receiver lose it */
	SOCK_SHUT_RECEIVE = 1 << 14, /* the program has shut it down for receiving */
	SOCK_WRITER_DIED = 1 << 15 /* a process that shared it died with the writer's lock: local_take_back_goes_on */
};

/* -- section 3 ------------------------------------------------------------------------------------------------------ */

/* Sends what can be sent without waiting. Bytes (possibly fewer than asked), or a negative errno: -EAGAIN, -EPIPE (the
 * caller raises SIGPIPE), -ECONNRESET, -EFAULT, … `flags`: MSG_* of the call. */
long local_send(struct local_end *end, int fd, struct cursor *from, int flags);

/* -- section 4 ------------------------------------------------------------------------------------------------------ */

/* Receives what is there. Bytes, 0 at the end of the stream, or a negative errno. `flags`: MSG_PEEK and MSG_TRUNC count;
 * without MSG_DONTWAIT the kernel is not asked for an end more than every 20 us: the caller is going to wait. */
long local_recv(struct local_end *end, int fd, struct cursor *to, int flags);

/* 1 when the next byte is one of urgent data, which a receive that has some bytes does not pass. */
int local_is_at_mark(struct local_end *end, int fd);
/* The same of a peek that has shown `peeked` bytes. */
int local_peek_meets_mark(struct local_end *end, int fd, size_t peeked);
/* When the engine begins: our own count of the kernel's bytes starts where the kernel says. */
void local_count_from_here(struct local_end *end, int fd);

/* Whether the ring has bytes that local_recv would give now, or an error is pending. Cheap; no lock; no system call. */
int local_readable(const struct local_end *end);
/* Bytes published in the ring and not taken. */
uint64_t local_ring_unread(const struct local_end *end);
/* Those of them that local_recv would give now: behind kernel bytes that are still under way, none. Asks the kernel only where
 * kernel bytes come first. Any thread, no lock. */
uint64_t local_ring_readable(const struct local_end *end, int fd);
/* 1 when bytes of ours are unread in the ring: should the peer die now, that is a reset. */
int local_peer_has_unread(const struct local_end *end);
/* Both locks held: a relay has the socket now. */
void local_leave_to_relay(struct local_end *end);
static inline int local_is_relayed(const struct local_end *end)
{
	return load_acquire(&end->left) == LEFT_TO_RELAY;
}
/* 1 when what we send goes by the ring now. */
int local_sends_by_ring(const struct local_end *end);

/* What a waiting receiver watches: changes whenever there may be something new for local_recv. */
static inline uint64_t local_rx_mark(const struct local_end *end)
{
	return load_acquire(&end->rx->tail) ^ (load_acquire(&end->rx->change_count) << 52);
}

/* Has the lines on their way here that the next receive by the ring reads: each was written by the other processor last. */
static inline void local_fetch_ahead(const struct local_end *end)
{
	cpu_prefetch(&end->rx->tail);
	cpu_prefetch(end->rx_ring + (load_relaxed(&end->rx->head) & (end->ring_bytes - 1)));
}

/* From now on the sender wakes for bytes that it sends by the kernel, as for those by the ring: SO_RCVLOWAT is of both. */
static inline void local_ask_for_kernel_bytes(struct local_end *end)
{
	store_release(&end->rx->tell_of_kernel, 1);
}

/* -- sleeping, section 5 --------------------------------------------------------------------------------------------- */

/* A sleep in the kernel begins: revokes the ring while it is empty. 0: done; -EAGAIN: there is something to read. Either
 * way local_kernel_sleep_ends must follow: the last sleeper allows the ring again. */
int local_kernel_sleep_begins(struct local_end *end);
void local_kernel_sleep_ends(struct local_end *end);
/* Allows the ring, unless it is revoked for good or somebody sleeps in the kernel. */
void local_rx_allow(struct local_end *end);
/* Duties towards the other end that it asks for by marks: take back unread bytes (section 7). Call after a wake-up. */
void local_service(struct local_end *end, int fd);
/* Where the peer's process is gone, or has forked: finds out whether its death was a reset. 1 when it changed something: ask the kernel
 * again. No locks may be held. */
int local_check_end(struct local_end *end, int fd);
/* The same where the kernel has shown an end: one that the peer has not marked is its death, before the process is gone. */
int local_believe_end(struct local_end *end, int fd);

/* -- ends, section 7 -------------------------------------------------------------------------------------------------- */

/* shutdown(2), and what belongs to it. What the kernel says: 0, or a negative errno. */
long local_shutdown(struct local_end *end, int fd, int how);
/* Before the kernel's close(2) of this process's last descriptor. `sole`: no other living process holds the socket. */
void local_close(struct local_end *end, int fd, int sole);
/* Before an exec that closes the descriptor, as before a close; and when the exec failed after all: the socket goes on, by
 * the kernel. `before`: SO_LINGER, where it was changed. */
int local_exec_closes(struct local_end *end, int fd, int sole, struct linger *before);
void local_exec_did_not_close(struct local_end *end, int fd, const struct linger *before);
/* Both directions to the kernel, for good. */
void local_to_kernel(struct local_end *end, int fd);
/* 1 when our direction has ended: local_shutdown, by any process that shares the socket. */
int local_has_half_closed(const struct local_end *end);
/* 1 when no byte of the direction we receive is in the ring any more. */
int local_rx_is_kernel(struct local_end *end);
/* 1 when the kernel would answer bytes that come with a reset: shut down in both directions (RFC 1122, 4.2.2.13). */
int local_takes_no_more(const struct local_end *end);
/* Revokes for good, asks the sender to take back unread bytes and send them by the kernel, and wakes it. */
void local_request_resend(struct local_end *end);
/* Puts all that is unread into the kernel by the sender's own socket (pidfd_getfd), in order. 1: nothing of the direction
 * we receive is in the ring any more; 0: it cannot be done now. */
int local_hand_back(struct local_end *end, int fd);
/* Brackets every change that a sender makes to its carrier, and every send by the kernel: a receiver that hands back keeps
 * it out. Writer's lock held. */
void local_sender_enter(struct local_end *end); /* look at `left` then: the receiver may have died halfway */
void local_sender_leave(struct local_end *end);

/* The end of `channel` in this process; 0: there is no such channel. Then the pair knows that it is attached. */
int local_end_fill(struct local_end *end, struct pair *pair, uint32_t channel);
void local_end_attached(struct local_end *end);

/* -- used between the files of this folder --------------------------------------------------------------------------- */

/* 0 when the kernel socket should be asked now: the peer's process is gone or has forked, 20 us after the last time. */
int local_peer_is_well(struct local_end *end);
/* 1 when this kernel socket was asked in the last 20 us; 0: ask it now. */
int local_asked_lately(struct local_end *end);
void local_wake_peer(struct local_end *end);
/* A copy of the peer's socket (pidfd_getfd), checked by cookie, or a negative errno: the system may not allow it. */
int local_peer_socket(struct local_end *end);
/* Writer's lock held: all that is left of the cursor in one system call, which does not move it. Bytes or a negative errno. */
long local_kernel_send(int fd, struct cursor *from, int flags);
/* The same for MSG_OOB: one that the receiver has not come to yet is not lost (urgent.c). */
long local_send_urgent(struct local_end *end, int fd, struct cursor *from, int flags);
/* Writer's lock held: our direction goes to the kernel at the tail. */
void local_move_to_kernel(struct local_end *end);
/* Writer's lock held: unread bytes of our direction are sent by the kernel instead. */
void local_take_back(struct local_end *end, int fd);
/* The kernel has shown end or error: a peer that died with our bytes unread has reset the connection. */
void local_peer_gone(struct local_end *end, int fd);
/* Writer's lock held: the kernel has told of a reset itself; nothing is emulated any more. */
void local_peer_reset(struct local_end *end);
/* Reader's lock held: where the kernel's stream stands for us, asked of the kernel. 0 or a negative errno. */
int local_kernel_position(struct local_end *end, int fd, uint64_t *position);
/* Reader's lock held. What a process that shared the socket has left by dying while it handed back: 1 when bytes were under
 * way then, and the connection counts as reset. local_claim_of_dead: the lock was taken over from it. */
int local_claim_has_broken(struct local_end *end);
void local_claim_of_dead(struct local_end *end);
/* Writer's lock held: what a process that shared the socket has left by dying while it took back. */
void local_take_back_goes_on(struct local_end *end, int fd);
void local_protocol_error(struct local_end *end);
void local_keep_error(struct local_end *end, long error);
void local_lock_writer(struct local_end *end);
void local_unlock_writer(struct local_end *end);
void local_lock_reader(struct local_end *end);
void local_unlock_reader(struct local_end *end);

#endif
