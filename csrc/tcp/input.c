/* The order in which a segment is judged: RFC 9293, 3.10.7.3 (SYN-SENT) and 3.10.7.4 (all others). LISTEN is in tcp/listen.c, no
 * connection at all in tcp/receive.c. The segment that is expected does not come here: tcp/expected.c. */
#include <errno.h>

#include "tcp/rules.h"

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

	if (tcp->state == STATE_SYN_SENT)
		judge_in_syn_sent(arrival);
	else
		judge(arrival);
	output_all(arrival->stack, tcp);
}
