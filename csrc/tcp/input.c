/* The order in which a segment is judged: RFC 9293, 3.10.7.3 (SYN-SENT) and 3.10.7.4 (all others). LISTEN is in tcp/listen.c, no
 * connection at all in tcp/receive.c. Before them stands the short way for the segment that is expected (RFC 1122's "header
 * prediction"): in order, with news in one direction only. Whatever is unusual falls out of it. */
#include <errno.h>

#include "tcp/rules.h"

/* -- the short way -------------------------------------------------------------------------------------------------------- */

static int timestamp_is_expected(const struct tcp *tcp, const struct segment *segment)
{
	if (!tcp->has_timestamps)
		return 1;
	return segment->has_timestamp && !seq_before(segment->timestamp, tcp->ts_recent);
}

/* Nothing is unusual about the connection: nothing lost in either direction, nobody closing, nothing urgent. */
static int is_quiet(const struct tcp *tcp)
{
	return tcp->state == STATE_ESTABLISHED && !tcp->waiting_first && !tcp->recovery && !tcp->duplicates &&
	       !tcp->has_urgent_in && !tcp->has_urgent_out && !tcp->is_detached;
}

static int is_expected(const struct tcp *tcp, const struct segment *segment)
{
	return (segment->flags & ~SEGMENT_PSH) == SEGMENT_ACK && segment->sequence == tcp->rcv_nxt && is_quiet(tcp) &&
	       (uint32_t)segment->window << tcp->snd_scale == tcp->snd_wnd && !segment->sack_count &&
	       timestamp_is_expected(tcp, segment);
}

/* In order, and it acknowledges nothing new. */
static int take_expected_bytes(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;

	if (segment->acknowledgement != tcp->snd_una || segment->payload_bytes > tcp->rcv_adv - tcp->rcv_nxt)
		return 0;
	accept_note_timestamp(arrival->stack, tcp, segment);
	idle_heard(arrival->stack, tcp);
	reassemble_payload(arrival);
	return 1;
}

/* It acknowledges something new, and brings nothing. */
static int take_expected_acknowledgement(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;

	if (!seq_after(segment->acknowledgement, tcp->snd_una) || seq_after(segment->acknowledgement, tcp->snd_nxt))
		return 0;
	accept_note_timestamp(arrival->stack, tcp, segment);
	idle_heard(arrival->stack, tcp);
	acknowledged_segment(arrival);
	return 1;
}

static int take_short_way(struct arrival *arrival)
{
	int taken;

	if (!is_expected(arrival->tcp, &arrival->segment))
		return 0;
	taken = arrival->segment.payload_bytes ? take_expected_bytes(arrival) : take_expected_acknowledgement(arrival);
	if (taken)
		stack_count(arrival->stack, STACK_expected);
	return taken;
}

/* -- SYN-SENT (RFC 9293, 3.10.7.3) ---------------------------------------------------------------------------------------- */

/* Third to fifth: the peer's SYN, with or without an acknowledgement of ours. */
static void synchronize(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	struct segment *segment = &arrival->segment;

	begin_peer_numbers(tcp, segment);
	begin_read_options(stack, tcp, segment);
	if (!(segment->flags & SEGMENT_ACK)) { /* both have called at the same time (RFC 9293, 3.5, figure 7) */
		tcp->state = STATE_SYN_RECEIVED;
		emit_syn(stack, tcp);
		return;
	}
	begin_established(stack, tcp);
	stack_count(stack, STACK_opened);
	delay_acknowledge_now(tcp);
	segment->flags &= (uint8_t)~SEGMENT_SYN;
	segment->sequence++;
	reassemble_payload(arrival);
}

static void judge_in_syn_sent(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;
	int has_ack = segment->flags & SEGMENT_ACK;

	if (has_ack && segment->acknowledgement != tcp->snd_nxt) { /* of an earlier connection */
		emit_reset_for(arrival->stack, arrival->packet, segment);
		return;
	}
	if (segment->flags & SEGMENT_RST) {
		if (has_ack) {
			stack_count(arrival->stack, STACK_resets_in);
			tcp_end(arrival->stack, tcp, ECONNREFUSED);
		}
		return;
	}
	if (segment->flags & SEGMENT_SYN)
		synchronize(arrival);
}

/* -- all others (RFC 9293, 3.10.7.4) -------------------------------------------------------------------------------------- */

static void judge(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;

	if (!accept_sequence(arrival))
		return;
	if (arrival->segment.flags & SEGMENT_RST) {
		accept_reset(arrival);
		return;
	}
	if (!accept_syn(arrival) || !accept_acknowledgement(arrival))
		return;
	idle_heard(arrival->stack, tcp);
	acknowledged_segment(arrival);
	if (tcp->state == STATE_CLOSED)
		return;
	urgent_forget_passed(tcp);
	urgent_arrived(arrival);
	reassemble_payload(arrival);
}

void input_segment(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;

	if (!take_short_way(arrival)) {
		if (tcp->state == STATE_SYN_SENT)
			judge_in_syn_sent(arrival);
		else
			judge(arrival);
	}
	output_all(arrival->stack, tcp);
}
