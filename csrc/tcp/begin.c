/* The handshake's numbers and options: initial sequence numbers (RFC 6528; RFC 9293, 3.4.1), MSS (RFC 9293, 3.7.1), window scale and
 * timestamps (RFC 7323, 2 and 3), SACK (RFC 2018, 2); and what is set when it is over. */
#include "ip/ip.h"
#include "tcp/congestion.h"
#include "tcp/rules.h"

#define ISN_TICK_NS 4000ull /* RFC 9293, 3.4.1 */
#define NS_PER_SECOND 1000000000ull
#define RTO_AFTER_LOST_SYN_NS (3 * NS_PER_SECOND) /* RFC 6298, 5.7 */
#define SYN_WINDOW_MAX 65535u /* the window of a SYN is not scaled (RFC 7323, 2.2) */

/* What both numbers are made from; no padding in it. */
struct ends {
	struct address local;
	struct address remote;
	uint16_t local_port;
	uint16_t remote_port;
	uint32_t what;
};

static uint64_t hash_ends(const struct stack *stack, const struct tcp *tcp, uint32_t what, int with_ports)
{
	struct ends ends = {.local = tcp->end.local, .remote = tcp->end.remote, .what = what};

	if (with_ports) {
		ends.local_port = tcp->end.local_port;
		ends.remote_port = tcp->end.remote_port;
	}
	return secret_hash(&stack->settings.secret, &ends, sizeof(ends));
}

/* Both ends are known: numbers of our own. Timestamps have an offset for each pair of addresses, so that a later connection's are not
 * older (RFC 7323, 5.4; RFC 6191). */
void begin_connection(struct stack *stack, struct tcp *tcp)
{
	tcp->iss = (uint32_t)(stack->now_ns / ISN_TICK_NS) + (uint32_t)hash_ends(stack, tcp, 1, 1);
	tcp->ts_offset = (uint32_t)hash_ends(stack, tcp, 2, 0);
	tcp->snd_una = tcp->iss;
	tcp->snd_nxt = tcp->iss + 1;
	tcp->snd_up = tcp->small_end = tcp->iss;
	tcp->rcv_scale = window_scale_for(tcp->options.receive_bytes);
	tcp->heard_at_ns = tcp->unanswered_since_ns = stack->now_ns;
	recover_begin(tcp);
	rtt_begin(tcp);
	mtu_begin(stack, tcp);
}

/* In a SYN all that we can; in a SYN, ACK what the peer can too. */
void begin_fill_options(const struct stack *stack, const struct tcp *tcp, struct segment *segment)
{
	int is_first = tcp->state == STATE_SYN_SENT;
	uint32_t mss = stack->settings.mtu - SEGMENT_HEADER_BYTES - ip_header_bytes(&tcp->end.remote);

	segment->maximum_segment_bytes = (uint16_t)(tcp->options.mss ? tcp_least(tcp->options.mss, mss) : mss);
	segment->window = (uint16_t)tcp_least(tcp->options.receive_bytes, SYN_WINDOW_MAX);
	segment->may_sack = is_first || tcp->may_sack;
	segment->has_window_scale = is_first || tcp->has_window_scale;
	segment->window_scale = tcp->rcv_scale;
	if (is_first) {
		segment->has_timestamp = 1;
		segment->timestamp = emit_clock(stack, tcp);
		segment->timestamp_echo = 0;
	}
}

/* Of the peer's SYN. Where it does not scale, neither do we (RFC 7323, 2.2). */
void begin_read_options(struct stack *stack, struct tcp *tcp, const struct segment *segment)
{
	tcp->peer_mss = segment->maximum_segment_bytes; /* 0: see mtu_fit */
	tcp->may_sack = segment->may_sack;
	tcp->has_window_scale = segment->has_window_scale;
	tcp->snd_scale = segment->has_window_scale ? segment->window_scale : 0;
	if (!segment->has_window_scale)
		tcp->rcv_scale = 0;
	tcp->has_timestamps = segment->has_timestamp;
	if (segment->has_timestamp) {
		tcp->ts_recent = segment->timestamp;
		tcp->ts_recent_at_ns = stack->now_ns;
	}
	mtu_fit(tcp);
}

/* RFC 9293, 3.10.7.2 and 3.10.7.3: IRS, RCV.NXT and the first window. What we have offered counts from the peer's number. */
void begin_peer_numbers(struct tcp *tcp, const struct segment *segment)
{
	tcp->irs = segment->sequence;
	tcp->rcv_nxt = tcp->last_ack = segment->sequence + 1;
	tcp->rcv_wnd_max = tcp_least(tcp->options.receive_bytes, SYN_WINDOW_MAX);
	tcp->rcv_adv = tcp->rcv_nxt + tcp->rcv_wnd_max;
	tcp->snd_wnd = tcp->snd_wnd_max = segment->window;
	tcp->is_window_closed = !tcp->snd_wnd;
	tcp->snd_wl1 = segment->sequence;
	tcp->snd_wl2 = tcp->iss;
}

/* RFC 5681, 3.1: one segment, if a SYN was lost. RFC 6298, 5.7: then the timeout is longer, until something is measured. */
static void begin_window(struct stack *stack, struct tcp *tcp)
{
	tcp->cwnd = tcp->retries ? tcp->snd_mss : congestion_initial_window(stack, tcp);
	if (tcp->retries && !tcp->srtt_ns)
		tcp->rto_ns = RTO_AFTER_LOST_SYN_NS;
	congestion_of(tcp)->begin(stack, tcp);
}

/* Our SYN is acknowledged, and the peer's has come (RFC 9293, 3.10.7.3 and 3.10.7.4). What was closed before goes on closing. */
void begin_established(struct stack *stack, struct tcp *tcp)
{
	tcp->snd_una = tcp->iss + 1;
	if (tcp->timed_at_ns)
		rtt_sample(stack, tcp, stack->now_ns - tcp->timed_at_ns);
	rtt_forget_timed(tcp);
	begin_window(stack, tcp);
	tcp->retries = 0;
	tcp->unanswered_since_ns = 0;
	tcp->recover = tcp->iss;
	timer_stop(tcp, TIMER_RETRANSMIT);
	tcp->state = STATE_ESTABLISHED;
	tcp->was_established = 1;
	if (tcp->parent)
		listen_established(stack, tcp);
	idle_heard(stack, tcp);
	idle_keepalive_begin(stack, tcp);
	endpoint_changed(&tcp->end);
	if (tcp->send_closed)
		tcp->state = STATE_FIN_WAIT_1;
}
