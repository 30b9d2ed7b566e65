/* What may be sent now: first what is lost, then what is new, then what is perhaps lost (RFC 6675, NextSeg); as much as the peer's
 * window and cwnd allow; and not what is too small to be worth it (Nagle: RFC 896, RFC 9293, 3.7.4, with Minshall's change, as Linux has
 * it; silly windows: RFC 9293, 3.8.6.2.1). How a segment is built is in tcp/emit.c. */
#include "tcp/congestion.h"
#include "tcp/rules.h"

/* -- again ---------------------------------------------------------------------------------------------------------------- */

/* Bytes [from, from + count) of the sequence space, of which the last may be the FIN. 0: no cell was free. */
static int send_again(struct stack *stack, struct tcp *tcp, uint32_t from, uint32_t count)
{
	uint32_t end = tcp_send_end(tcp), data_end = seq_earlier(from + count, end);
	uint8_t flags = seq_after(from + count, end) ? SEGMENT_FIN : 0;

	if (data_end == end && data_end != from)
		flags |= SEGMENT_PSH;
	if (!emit_segment(stack, tcp, from, data_end - from, flags))
		return 0;
	recover_sent_again(tcp, from, from + count);
	stack_count(stack, STACK_retransmissions);
	return 1;
}

/* -- new ------------------------------------------------------------------------------------------------------------------ */

/* Bytes that the peer's window leaves. */
static uint32_t usable_window(const struct tcp *tcp)
{
	uint32_t edge = tcp->snd_una + tcp->snd_wnd;

	return seq_after(edge, tcp->snd_nxt) ? edge - tcp->snd_nxt : 0;
}

/* Bytes that the program has given and that have never been sent. */
static uint32_t unsent(const struct tcp *tcp)
{
	return tcp_fin_is_out(tcp) ? 0 : tcp_send_end(tcp) - tcp->snd_nxt;
}

/* All that there is, but less than a segment: does it wait for more? */
static int may_be_small(const struct tcp *tcp)
{
	if (tcp->send_closed || tcp->is_overridden || (tcp->has_urgent_out && seq_after(tcp->snd_up, tcp->snd_nxt)))
		return 1;
	if (tcp->options.cork)
		return 0;
	return tcp->options.nodelay || !seq_after(tcp->small_end, tcp->snd_una);
}

/* RFC 9293, 3.8.6.2.1, rules 1 to 4. `bytes`: what the window and a segment's size let through of `waiting`. */
static int is_worth_sending(const struct tcp *tcp, uint32_t bytes, uint32_t waiting)
{
	if (bytes == tcp->snd_mss)
		return 1;
	if (bytes == waiting)
		return may_be_small(tcp);
	return bytes >= tcp->snd_wnd_max / 2 || tcp->is_overridden;
}

/* What can go into the next new segment; 0: nothing, now. */
static uint32_t next_bytes(struct tcp *tcp, uint32_t waiting)
{
	uint32_t bytes = tcp_least(tcp_least(waiting, tcp->snd_mss), usable_window(tcp));
	uint32_t pipe = recover_pipe(tcp), allowed = recover_allowed(tcp);

	if (!bytes || !is_worth_sending(tcp, bytes, waiting))
		return 0;
	tcp->is_cwnd_limited = pipe + bytes > tcp->cwnd;
	return pipe + bytes <= allowed ? bytes : 0;
}

/* The FIN goes with the last byte, or alone; it takes one of the window (RFC 9293, 3.4). */
static int fin_fits(const struct tcp *tcp, uint32_t bytes, uint32_t waiting)
{
	return tcp->send_closed && !tcp_fin_is_out(tcp) && bytes == waiting && usable_window(tcp) > bytes;
}

/* RFC 5681, 4.1: a pause of more than a timeout. */
static void restart_after_idle(struct stack *stack, struct tcp *tcp)
{
	if (!tcp_flight(tcp) && tcp->sent_at_ns && stack->now_ns - tcp->sent_at_ns > tcp->rto_ns)
		congestion_after_idle(stack, tcp);
}

static void note_sent(struct stack *stack, struct tcp *tcp, uint32_t bytes, int has_fin)
{
	uint32_t from = tcp->snd_nxt;

	tcp->snd_nxt += bytes + (uint32_t)has_fin;
	tcp->sent_at_ns = stack->now_ns;
	tcp->is_overridden = 0;
	if (bytes < tcp->snd_mss)
		tcp->small_end = from + bytes;
	if (!tcp->unanswered_since_ns)
		tcp->unanswered_since_ns = stack->now_ns;
	if (!tcp->retries)
		rtt_time_segment(stack, tcp, tcp->snd_nxt);
	if (tcp->recovery == RECOVERY_NONE && tcp->duplicates)
		stack_count(stack, STACK_limited_transmits);
}

/* 0: nothing goes now. */
static int send_new(struct stack *stack, struct tcp *tcp)
{
	uint32_t waiting = unsent(tcp), bytes;
	int has_fin;
	uint8_t flags;

	restart_after_idle(stack, tcp);
	bytes = next_bytes(tcp, waiting);
	has_fin = fin_fits(tcp, bytes, waiting);
	if (!bytes && !has_fin)
		return 0;
	flags = (uint8_t)((bytes == waiting && bytes ? SEGMENT_PSH : 0) | (has_fin ? SEGMENT_FIN : 0));
	if (!emit_segment(stack, tcp, tcp->snd_nxt, bytes, flags))
		return 0;
	note_sent(stack, tcp, bytes, has_fin);
	return 1;
}

/* -- all ------------------------------------------------------------------------------------------------------------------ */

/* One segment. 0: nothing goes now. */
static int send_next(struct stack *stack, struct tcp *tcp)
{
	uint32_t from, count = tcp->recovery ? recover_lost(tcp, &from) : 0;

	if (count)
		return (tcp->must_retransmit || recover_pipe(tcp) + count <= tcp->cwnd) && send_again(stack, tcp, from, count);
	if (send_new(stack, tcp))
		return 1;
	if (tcp->recovery != RECOVERY_FAST || recover_pipe(tcp) + tcp->snd_mss > tcp->cwnd)
		return 0;
	count = recover_perhaps_lost(stack, tcp, &from);
	return count && send_again(stack, tcp, from, count);
}

/* Bytes, or a FIN, that nothing will bring on its way but the timer. */
static int is_stuck(const struct tcp *tcp)
{
	return !tcp_flight(tcp) && (unsent(tcp) || (tcp->send_closed && !tcp_fin_is_out(tcp)));
}

static int may_send_data(const struct tcp *tcp)
{
	return tcp_is_synchronized(tcp) && tcp->state != STATE_TIME_WAIT && tcp->state != STATE_FIN_WAIT_2;
}

/* Nothing is lost, and all that the program has given is out. */
static int has_nothing(const struct tcp *tcp)
{
	return !tcp->recovery && !tcp->send_closed && tcp->snd_nxt == tcp_send_end(tcp);
}

void output_all(struct stack *stack, struct tcp *tcp)
{
	if (tcp->state <= STATE_LISTEN)
		return;
	if (may_send_data(tcp) && !has_nothing(tcp)) {
		while (send_next(stack, tcp) && !has_nothing(tcp))
			;
		retransmit_begin(stack, tcp);
		if (is_stuck(tcp))
			persist_begin(stack, tcp);
	}
	if (tcp->ack_now && tcp->state != STATE_SYN_SENT)
		emit_acknowledgement(stack, tcp);
}
