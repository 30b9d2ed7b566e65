/* A TCP connection or listener: its state, which is one endpoint's slot of a stack.
 *
 * Names are those of RFC 9293, 3.3.1 (snd_una, rcv_nxt, …), RFC 5681 (cwnd, ssthresh), RFC 6298 (srtt, rto) and RFC 6675 (high_rxt).
 * Under the stack's lock, but for the last two lines of the structure: the program's side of the queues. Sequence numbers are
 * compared by the functions at the end only. */
#ifndef BYWAY_TCP_TCP_H
#define BYWAY_TCP_TCP_H

#include "frame/segment.h"
#include "stack/byte_queue.h"
#include "stack/endpoint.h"

/* RFC 9293, 3.3.2 */
enum tcp_state {
	STATE_CLOSED,
	STATE_LISTEN,
	STATE_SYN_SENT,
	STATE_SYN_RECEIVED,
	STATE_ESTABLISHED,
	STATE_FIN_WAIT_1,
	STATE_FIN_WAIT_2,
	STATE_CLOSE_WAIT,
	STATE_CLOSING,
	STATE_LAST_ACK,
	STATE_TIME_WAIT
};

enum tcp_timer {
	TIMER_RETRANSMIT, /* RFC 6298, 5 */
	TIMER_PERSIST, /* RFC 9293, 3.8.6.1; also ends the wait of what is too small to send (3.8.6.2.1, rule 4) */
	TIMER_DELAYED_ACK, /* RFC 9293, 3.8.6.3 */
	TIMER_KEEPALIVE, /* RFC 9293, 3.8.4 */
	TIMER_END, /* TIME-WAIT, a FIN-WAIT-2 that nobody reads, a linger */
	TCP_TIMERS
};

enum recovery {
	RECOVERY_NONE,
	RECOVERY_FAST, /* RFC 6675, RFC 6582: duplicates told of a loss */
	RECOVERY_TIMEOUT /* RFC 6298, 5.4 */
};

enum {
	SACKED_MAX = 32, /* ranges that the peer has told of and that are kept: what is forgotten is sent twice, no more */
	RECEIVED_RANGES_MAX =
		8 /* of what arrived out of order, latest first: at most four are told at once (RFC 2018, 3) */
};

struct tcp_options {
	uint32_t send_bytes;
	uint32_t receive_bytes;
	uint32_t keepalive_idle_ms; /* RFC 9293, 3.8.4: 7,200,000 by default */
	uint32_t keepalive_interval_ms;
	uint32_t keepalive_probes; /* unanswered ones end the connection */
	uint32_t user_timeout_ms; /* RFC 5482: unacknowledged for so long ends it; 0: after RETRIES_MAX retransmissions */
	uint32_t syn_retries;
	int32_t linger_ms; /* -1: close goes on in the background; 0: close resets (RFC 9293, 3.10.4) */
	uint16_t mss; /* at most, as asked for; 0: what the path allows */
	uint8_t keepalive;
	uint8_t nodelay; /* no Nagle (RFC 9293, 3.7.4) */
	uint8_t cork;
	uint8_t urgent_inline;
	uint8_t congestion; /* number in congestion_algorithms */
	uint8_t pad[5];
};

struct tcp {
	struct endpoint end;

	/* What it is, and what the program has said. The first eight are looked at together: tcp_is_quiet */
	uint8_t state; /* enum tcp_state. Read by anybody */
	uint8_t is_detached; /* the program has closed it: nobody reads, and the slot is free when all is done */
	uint8_t recovery; /* enum recovery */
	uint8_t sacked_count; /* of `sacked` */
	uint8_t has_urgent_out; /* snd_up counts */
	uint8_t has_urgent_in; /* rcv_up counts: the urgent byte has not been passed. Read by the program's side */
	uint8_t has_duplicate; /* `duplicate` is to be told first (RFC 2883) */
	uint8_t is_window_closed; /* snd_wnd is 0 */
	uint8_t send_closed; /* the program has said that nothing more will come. Read by the program's side */
	uint8_t receive_closed; /* and that it reads no more */
	uint8_t fin_received; /* rcv_nxt is behind the peer's FIN. Read by the program's side */
	uint8_t was_established; /* it cannot connect once more */
	uint8_t ack_now; /* an acknowledgement is to leave with this step */
	uint8_t ack_segments; /* that have not been acknowledged (RFC 9293, 3.8.6.3) */
	struct tcp_options options;

	/* Agreed in the handshake */
	uint8_t may_sack; /* RFC 2018, 2 */
	uint8_t has_window_scale; /* RFC 7323, 2.2: both scale */
	uint8_t has_timestamps; /* RFC 7323, 3.2 */
	uint8_t snd_scale; /* RFC 7323, 2.2: shifts of the windows */
	uint8_t rcv_scale;
	uint16_t peer_mss; /* what the peer wants at most, without options (RFC 9293, 3.7.1) */
	uint16_t snd_mss; /* payload of a full segment (RFC 6691) */
	uint32_t path_mtu;
	uint32_t path_mtu_lowered_s; /* when, in seconds; 0: never (RFC 1191, 6.3) */

	/* Sending */
	uint32_t iss;
	uint32_t snd_una;
	uint32_t snd_nxt; /* the first that has never been sent */
	uint32_t snd_wnd;
	uint32_t snd_wl1;
	uint32_t snd_wl2;
	uint32_t snd_wnd_max; /* the largest that the peer has offered: MAX.SND.WND of RFC 5961 */
	uint32_t snd_up; /* behind the last urgent byte */
	uint32_t small_end; /* behind the last segment that was not full (Minshall's Nagle; RFC 9293, 3.7.4) */
	uint8_t is_overridden; /* the wait of a small segment is over: it goes now */
	uint8_t is_cwnd_limited; /* cwnd held new data back when we last looked */
	uint8_t probes; /* of a window that is closed: how many */
	uint8_t probes_unanswered;
	struct byte_place next_place; /* of snd_nxt in the send queue */

	/* Time */
	uint64_t srtt_ns; /* 0: nothing measured yet */
	uint64_t rttvar_ns;
	uint64_t rto_ns; /* without the backing off */
	uint64_t timed_at_ns; /* when the segment that ends at timed_end left; 0: none is timed */
	uint32_t timed_end;
	uint32_t retries; /* retransmissions of the same bytes */
	uint64_t unanswered_since_ns; /* the oldest that is not acknowledged was sent then; 0: nothing is out */
	uint64_t heard_at_ns; /* anything from the peer */
	uint64_t sent_at_ns; /* data */
	uint64_t deadlines_ns[TCP_TIMERS]; /* STACK_NEVER: not running */
	uint32_t keepalive_unanswered;
	int32_t soft_error; /* what an ICMP error told of, should the connection time out (RFC 1122, 4.2.3.9); 0: nothing */

	/* Congestion and loss */
	uint32_t cwnd;
	uint32_t ssthresh;
	uint32_t counted; /* bytes acknowledged since cwnd last grew (RFC 3465, 2.1) */
	uint32_t recover; /* RFC 6675's RecoveryPoint, RFC 6582's recover */
	uint32_t high_rxt; /* RFC 6675: retransmitted up to here in this recovery */
	uint32_t lost_until; /* after a timeout: everything before is lost */
	uint32_t duplicates; /* RFC 5681: duplicate acknowledgements in a row */
	uint8_t is_rescued; /* RFC 6675, NextSeg, rule 4: once */
	uint8_t must_retransmit; /* the first of a recovery, whatever cwnd says */
	struct segment_sack sacked[SACKED_MAX]; /* ascending, apart from each other, all behind snd_una */

	/* Receiving */
	uint32_t irs;
	uint32_t rcv_nxt;
	uint32_t rcv_adv; /* right edge of the window that was offered: never goes back */
	uint32_t rcv_wnd_max; /* the largest window that was offered */
	uint32_t last_ack; /* RFC 7323: Last.ACK.sent */
	uint32_t ts_recent; /* RFC 7323 */
	uint32_t ts_offset; /* added to our clock: nobody learns when the machine started */
	uint64_t ts_recent_at_ns;
	uint32_t rcv_up; /* the peer's urgent byte is the one before */
	uint8_t urgent_taken; /* the program has it. Written by the program's side */
	uint8_t received_count;
	uint32_t waiting_first; /* cells out of order, ascending by sequence; 0: none */
	uint32_t waiting_last;
	uint32_t waiting_cells;
	struct segment_sack received[RECEIVED_RANGES_MAX]; /* of what waits: the latest first */
	struct segment_sack duplicate;
	uint32_t challenges; /* within the period that began then (RFC 5961, 7) */
	uint64_t challenges_since_ns;

	/* Listening, and waiting to be accepted */
	uint32_t backlog;
	uint32_t syn_count; /* handshakes that have begun */
	uint32_t accept_count; /* finished ones: accept_first, by end.next */
	uint32_t accept_first;
	uint32_t accept_last;
	uint32_t parent; /* the listener; 0: accepted, or never had one */

	struct byte_queue received_bytes __attribute__((aligned(64))); /* the program reads */
	uint64_t receive_lock; /* of its readers */
	struct byte_queue sent_bytes __attribute__((aligned(64))); /* the program writes */
	uint64_t send_lock;
};
_Static_assert(sizeof(struct tcp) <= ENDPOINT_BYTES, "a slot");

static inline struct tcp *tcp_at(const struct stack *stack, uint32_t index)
{
	return endpoint_slot(stack, index);
}

/* -- sequence numbers (RFC 9293, 3.4) ------------------------------------------------------------------------------------- */

static inline int seq_before(uint32_t one, uint32_t other)
{
	return (int32_t)(one - other) < 0;
}

static inline int seq_after(uint32_t one, uint32_t other)
{
	return seq_before(other, one);
}

static inline uint32_t seq_later(uint32_t one, uint32_t other)
{
	return seq_before(one, other) ? other : one;
}

static inline uint32_t seq_earlier(uint32_t one, uint32_t other)
{
	return seq_before(one, other) ? one : other;
}

static inline uint32_t tcp_least(uint32_t one, uint32_t other)
{
	return one < other ? one : other;
}

static inline uint32_t tcp_most(uint32_t one, uint32_t other)
{
	return one > other ? one : other;
}

/* Behind the last byte that the program has given; its FIN, if it has said so, is there. */
static inline uint32_t tcp_send_end(const struct tcp *tcp)
{
	return tcp->iss + 1 + load_acquire(&tcp->sent_bytes.written);
}

/* Our FIN has been sent. */
static inline int tcp_fin_is_out(const struct tcp *tcp)
{
	return tcp->send_closed && tcp->snd_nxt == tcp_send_end(tcp) + 1;
}

/* Bytes that are out: sent, and not acknowledged. */
static inline uint32_t tcp_flight(const struct tcp *tcp)
{
	return tcp->snd_nxt - tcp->snd_una;
}

/* Established, and nothing unusual: nothing lost in either direction, nobody closing, nothing urgent, the window open. */
static inline int tcp_is_quiet(const struct tcp *tcp)
{
	uint64_t first;

	memcpy(&first, &tcp->state, sizeof(first));
	return first == STATE_ESTABLISHED && !(tcp->waiting_first | tcp->duplicates);
}
_Static_assert(offsetof(struct tcp, is_window_closed) == offsetof(struct tcp, state) + 7, "what tcp_is_quiet looks at");

static inline int tcp_is_synchronized(const struct tcp *tcp)
{
	return tcp->state >= STATE_ESTABLISHED;
}

#endif
