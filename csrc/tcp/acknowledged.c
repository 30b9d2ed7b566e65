/* What an acceptable acknowledgement ends, measures and allows (RFC 9293, 3.10.7.4, fifth, ESTABLISHED). */
#include "tcp/rules.h"

/* Whether the segment's window is newer than ours. RFC 9293's test by SND.WL1 and SND.WL2 would pass over that of a segment which was sent
 * again, and which acknowledges more than any before; the window would then seem to move with what is acknowledged. */
static int tells_window(const struct tcp *tcp, const struct segment *segment)
{
	if (seq_before(segment->acknowledgement, tcp->snd_una))
		return 0;
	if (seq_after(segment->acknowledgement, tcp->snd_una) || seq_after(segment->sequence, tcp->snd_wl1))
		return 1;
	return segment->sequence == tcp->snd_wl1 && !seq_before(segment->acknowledgement, tcp->snd_wl2);
}

/* 1: the peer's window is another one now. */
static int update_window(struct tcp *tcp, const struct segment *segment)
{
	uint32_t window = (uint32_t)segment->window << tcp->snd_scale, before = tcp->snd_wnd;

	if (!tells_window(tcp, segment))
		return 0;
	acknowledged_window(tcp, segment->sequence, segment->acknowledgement, window);
	return window != before;
}

/* Bytes of the queue among those that `acknowledgement` acknowledges: a FIN is none. */
static uint32_t bytes_until(const struct tcp *tcp, uint32_t acknowledgement)
{
	uint32_t end = seq_earlier(acknowledgement, tcp_send_end(tcp));

	return end - tcp->snd_una;
}

void acknowledged_advance(struct stack *stack, struct tcp *tcp, uint32_t acknowledgement, uint32_t echo)
{
	uint32_t bytes = acknowledgement - tcp->snd_una;

	rtt_acknowledged(stack, tcp, acknowledgement, echo);
	byte_queue_take(stack, &tcp->sent_bytes, NULL, bytes_until(tcp, acknowledgement));
	tcp->snd_una = acknowledgement;
	tcp->retries = 0;
	tcp->unanswered_since_ns = tcp_flight(tcp) ? stack->now_ns : 0;
	if (tcp->has_urgent_out && !seq_before(tcp->snd_una, tcp->snd_up))
		tcp->has_urgent_out = 0;
	recover_advanced(stack, tcp, bytes);
	retransmit_restart(stack, tcp);
	endpoint_changed(&tcp->end);
}

/* RFC 5681, 2: it repeats what an earlier one said, while something is out. With SACK it is one only if it tells of something new
 * (RFC 6675, 2). */
static int is_duplicate(const struct tcp *tcp, const struct segment *segment, int window_moved, int has_news)
{
	if (!tcp_flight(tcp) || segment->acknowledgement != tcp->snd_una)
		return 0;
	if (tcp->may_sack)
		return has_news;
	return !segment->payload_bytes && !(segment->flags & SEGMENT_FIN) && !window_moved;
}

void acknowledged_segment(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;
	int has_news = recover_note_sacks(stack, tcp, segment), window_moved = update_window(tcp, segment);

	tcp->probes_unanswered = 0;
	if (seq_after(segment->acknowledgement, tcp->snd_una))
		acknowledged_advance(stack, tcp, segment->acknowledgement,
		                     segment->has_timestamp ? segment->timestamp_echo : 0);
	else if (is_duplicate(tcp, segment, window_moved, has_news))
		recover_duplicate(stack, tcp);
	if (tcp_fin_is_out(tcp) && tcp->snd_una == tcp->snd_nxt)
		tcp_fin_acknowledged(stack, tcp);
}
