/* The window that is offered (RFC 9293, 3.8.6; RFC 7323, 2.3): as much as the buffer has room, its right edge never goes back
 * (3.8.6.2.2), and it moves only by what is worth sending (silly windows). */
#include "tcp/rules.h"

#define WINDOW_FIELD_MAX 65535u
#define WINDOW_SCALE_MAX 14u

/* The smallest scale with which the whole buffer can be offered: a larger one offers it in coarser steps. */
uint8_t window_scale_for(uint32_t receive_bytes)
{
	uint8_t scale = 0;

	while (scale < WINDOW_SCALE_MAX && receive_bytes >> scale > WINDOW_FIELD_MAX)
		scale++;
	return scale;
}

/* Where the right edge could be: as far as there is room, and as the field can say. */
static uint32_t edge(const struct tcp *tcp)
{
	uint32_t unread = byte_queue_count(&tcp->received_bytes), buffer = tcp->options.receive_bytes;
	uint32_t room = unread < buffer ? buffer - unread : 0;

	return tcp->rcv_nxt + tcp_least(room, WINDOW_FIELD_MAX << tcp->rcv_scale);
}

/* RFC 9293, 3.8.6.2.2: half the buffer, or a full segment. */
static uint32_t worth_moving(const struct tcp *tcp)
{
	return tcp_least(tcp->options.receive_bytes / 2, tcp->snd_mss);
}

/* The program has read: is the peer to be told? Only if it may be held up, with less than half to go of the most that it has had, and only
 * of twice as much as it knows of: acknowledgements tell it of the rest. */
int window_should_move(const struct tcp *tcp)
{
	uint32_t at = edge(tcp), offered = load_relaxed(&tcp->rcv_adv);
	uint32_t half = tcp_least(tcp->options.receive_bytes, tcp->rcv_wnd_max) / 2;
	uint32_t left = offered - load_relaxed(&tcp->rcv_nxt);

	return seq_after(at, offered) && left <= half && at - offered >= tcp_most(left, tcp_least(half, 2u * tcp->snd_mss));
}

/* The field of the header of a segment that leaves now. Rounding down may show the peer an edge that is further left by less than one
 * step of the scale (RFC 7323, 2.4); what it sends up to rcv_adv is taken all the same. */
uint32_t window_offer(struct tcp *tcp)
{
	uint32_t at = edge(tcp);

	if (seq_after(at, tcp->rcv_adv) && at - tcp->rcv_adv >= worth_moving(tcp))
		tcp->rcv_adv = at;
	tcp->rcv_wnd_max = tcp_most(tcp->rcv_wnd_max, tcp->rcv_adv - tcp->rcv_nxt);
	return (tcp->rcv_adv - tcp->rcv_nxt) >> tcp->rcv_scale;
}
