/* The urgent mark (RFC 9293, 3.8.5; RFC 6093): the pointer names the byte behind the urgent one, as all stacks have it. */
#include "tcp/rules.h"

#define URGENT_FIELD_MAX 0xffffu

/* RFC 9293, 3.10.7.4, sixth: the mark only moves forward. */
void urgent_arrived(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	const struct segment *segment = &arrival->segment;
	uint32_t up = segment->sequence + segment->urgent;

	if (!(segment->flags & SEGMENT_URG) || !segment->urgent || !seq_after(up, tcp->rcv_nxt))
		return;
	if (tcp->has_urgent_in && !seq_after(up, tcp->rcv_up))
		return;
	tcp->rcv_up = up;
	store_relaxed(&tcp->urgent_taken, 0);
	store_release(&tcp->has_urgent_in, 1);
	endpoint_changed(&tcp->end);
}

/* The program has read on: nothing is urgent any more. */
void urgent_forget_passed(struct tcp *tcp)
{
	uint32_t next_read = tcp->irs + 1 + load_acquire(&tcp->received_bytes.read);

	if (tcp->has_urgent_in && !seq_before(next_read, tcp->rcv_up))
		tcp->has_urgent_in = 0;
}

/* The last of the bytes before `end` is urgent. */
void urgent_send(struct tcp *tcp, uint32_t end)
{
	tcp->snd_up = end;
	tcp->has_urgent_out = 1;
}

/* Every segment before the mark tells of it; one that is too far away is told of later. */
void urgent_fill(const struct tcp *tcp, struct segment *segment)
{
	uint32_t distance = tcp->snd_up - segment->sequence;

	if (!tcp->has_urgent_out || !seq_after(tcp->snd_up, segment->sequence) || distance > URGENT_FIELD_MAX)
		return;
	segment->flags |= SEGMENT_URG;
	segment->urgent = (uint16_t)distance;
}
