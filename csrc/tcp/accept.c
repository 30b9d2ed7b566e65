/* Which segments are believed: sequence numbers (RFC 9293, 3.10.7.4, first check), PAWS (RFC 7323, 5), and the defences against who
 * guesses (RFC 5961: RST in section 3, SYN in 4, ACK in 5, the limit of challenges in 7). */
#include <errno.h>

#include "tcp/rules.h"

#define NS_PER_SECOND 1000000000ull
#define CHALLENGE_PERIOD_NS \
	(5 * NS_PER_SECOND) /* RFC 5961, 7: no more than ten in five seconds, here for each connection */
#define CHALLENGES_MAX 10
#define TIMESTAMP_OUTDATED_NS (24 * 24 * 3600 * NS_PER_SECOND) /* RFC 7323, 5.5 */

void accept_challenge(struct stack *stack, struct tcp *tcp)
{
	if (stack->now_ns - tcp->challenges_since_ns >= CHALLENGE_PERIOD_NS) {
		tcp->challenges_since_ns = stack->now_ns;
		tcp->challenges = 0;
	}
	if (tcp->challenges++ >= CHALLENGES_MAX) {
		stack_count(stack, STACK_challenges_withheld);
		return;
	}
	stack_count(stack, STACK_challenges);
	delay_acknowledge_now(tcp);
}

/* -- timestamps ----------------------------------------------------------------------------------------------------------- */

/* RFC 7323, 5.3, R1; 3.2: one without a timestamp, where they were agreed on, is dropped; a RST is judged without (5.2). */
int accept_timestamp(const struct stack *stack, const struct tcp *tcp, const struct segment *segment)
{
	if (!tcp->has_timestamps || segment->flags & SEGMENT_RST)
		return 1;
	if (!segment->has_timestamp)
		return 0;
	return !seq_before(segment->timestamp, tcp->ts_recent) ||
	       stack->now_ns - tcp->ts_recent_at_ns > TIMESTAMP_OUTDATED_NS;
}

static void note_timestamp(const struct stack *stack, struct tcp *tcp, const struct segment *segment)
{
	if (tcp->has_timestamps && segment->has_timestamp)
		accept_take_timestamp(stack, tcp, segment->sequence, segment->timestamp);
}

/* -- sequence ------------------------------------------------------------------------------------------------------------- */

/* What the segment takes of the sequence space. */
static uint32_t length(const struct segment *segment)
{
	return segment->payload_bytes + !!(segment->flags & SEGMENT_SYN) + !!(segment->flags & SEGMENT_FIN);
}

/* RFC 9293, 3.4. The table there refuses what begins right behind the window; here its ACK and RST count, since that is where a peer
 * stands that has filled the window, and of which the last segments were lost. */
static int is_acceptable(const struct tcp *tcp, const struct segment *segment)
{
	uint32_t end = segment->sequence + length(segment);

	if (seq_after(segment->sequence, tcp->rcv_adv))
		return 0;
	return end == segment->sequence ? !seq_before(end, tcp->rcv_nxt) : seq_after(end, tcp->rcv_nxt);
}

/* RFC 9293, 3.10.7.4, first: it is answered by an acknowledgement. One that brings old bytes is answered always, since its sender may
 * have lost our answer; one that brings nothing is answered as often as challenges are, or two confused peers would never end. */
static void refuse(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;
	uint32_t end = segment->sequence + segment->payload_bytes;

	if (segment->flags & SEGMENT_RST)
		return;
	if (!length(segment) || segment->flags & SEGMENT_SYN || seq_after(segment->sequence, tcp->rcv_adv)) {
		stack_count(stack, STACK_out_of_window);
		accept_challenge(stack, tcp);
		return;
	}
	/* Its timestamp is to be echoed, or its sender would take the time until it sent again for a round trip (RFC 7323, 4.3, 2) */
	if (accept_timestamp(stack, tcp, segment))
		note_timestamp(stack, tcp, segment);
	stack_count(stack, STACK_duplicates);
	if (segment->payload_bytes)
		reassemble_note_duplicate(tcp, segment->sequence, end);
	if (tcp->state == STATE_TIME_WAIT) /* our acknowledgement of its FIN was lost (RFC 9293, 3.10.7.4, eighth) */
		tcp_time_wait(stack, tcp);
	delay_acknowledge_now(tcp);
}

/* A keepalive's probe (RFC 9293, 3.8.4), or one of a closed window as Linux sends it, is always answered. */
static int is_probe(const struct tcp *tcp, const struct segment *segment)
{
	return !length(segment) && segment->sequence == tcp->rcv_nxt - 1 && !(segment->flags & SEGMENT_RST);
}

/* The peer's SYN once more, in SYN-RECEIVED: it has not got ours; or it has, and both had called at the same time. 0: it is dealt with. */
static int accept_syn_again(struct arrival *arrival)
{
	struct segment *segment = &arrival->segment;

	if (arrival->tcp->state != STATE_SYN_RECEIVED || !(segment->flags & SEGMENT_SYN) ||
	    segment->sequence != arrival->tcp->irs)
		return 1;
	if (!(segment->flags & SEGMENT_ACK)) {
		emit_syn(arrival->stack, arrival->tcp);
		return 0;
	}
	segment->flags &= (uint8_t)~SEGMENT_SYN;
	segment->sequence++;
	return 1;
}

int accept_sequence(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;

	if (!accept_syn_again(arrival))
		return 0;
	if (!accept_timestamp(stack, tcp, segment)) {
		stack_count(stack, STACK_old_timestamps);
		if (segment->has_timestamp)
			refuse(arrival);
		return 0;
	}
	if (is_acceptable(tcp, segment)) {
		note_timestamp(stack, tcp, segment);
		return 1;
	}
	if (is_probe(tcp, segment)) {
		idle_heard(stack, tcp);
		delay_acknowledge_now(tcp);
	} else {
		refuse(arrival);
	}
	return 0;
}

/* -- RST, SYN, ACK -------------------------------------------------------------------------------------------------------- */

/* What a program is told of a reset; in states in which both sides have closed there is nothing to tell. */
static int reset_error(const struct tcp *tcp)
{
	switch (tcp->state) {
	case STATE_SYN_RECEIVED:
		return ECONNREFUSED;
	case STATE_CLOSE_WAIT: /* as Linux has it */
		return EPIPE;
	case STATE_CLOSING:
	case STATE_LAST_ACK:
	case STATE_TIME_WAIT:
		return 0;
	default:
		return ECONNRESET;
	}
}

/* RFC 5961, 3.2: exactly the next number resets; another one in the window is asked about. */
void accept_reset(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;

	if (arrival->segment.sequence != tcp->rcv_nxt) {
		accept_challenge(arrival->stack, tcp);
		return;
	}
	stack_count(arrival->stack, STACK_resets_in);
	tcp_end(arrival->stack, tcp, reset_error(tcp));
}

/* RFC 5961, 4.2: whatever its number, a SYN in a connection is answered by a challenge. */
int accept_syn(struct arrival *arrival)
{
	if (!(arrival->segment.flags & SEGMENT_SYN))
		return 1;
	accept_challenge(arrival->stack, arrival->tcp);
	return 0;
}

/* RFC 9293, 3.10.7.4, fifth, SYN-RECEIVED: the handshake is over if it acknowledges our SYN. */
static int accept_in_syn_received(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;

	if (segment->acknowledgement != tcp->snd_nxt) {
		emit_reset_for(stack, arrival->packet, segment);
		return 0;
	}
	if (!listen_has_room(stack, tcp)) {
		stack_count(stack, STACK_accepts_full);
		return 0;
	}
	begin_established(stack, tcp);
	return 1;
}

/* RFC 9293, 3.10.7.4, fifth, and RFC 5961, 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT. */
int accept_acknowledgement(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;

	if (!(segment->flags & SEGMENT_ACK))
		return 0;
	if (tcp->state == STATE_SYN_RECEIVED)
		return accept_in_syn_received(arrival);
	if (!seq_after(segment->acknowledgement, tcp->snd_nxt) &&
	    !seq_before(segment->acknowledgement, tcp->snd_una - tcp->snd_wnd_max))
		return 1;
	accept_challenge(arrival->stack, tcp);
	return 0;
}
