/* When to acknowledge (RFC 9293, 3.8.6.3; RFC 5681, 4.2): every second segment at once, one alone after a while, and at once what is
 * unusual. Data that leaves takes the acknowledgement with it. */
#include "tcp/rules.h"

#define SEGMENTS_MAX 2 /* unacknowledged, of any size: RFC 9293 wants it for full ones */
#define NS_PER_MS 1000000ull

void delay_acknowledge_now(struct tcp *tcp)
{
	tcp->ack_now = 1;
}

void delay_acknowledge(struct stack *stack, struct tcp *tcp)
{
	if (++tcp->ack_segments >= SEGMENTS_MAX)
		tcp->ack_now = 1;
	else if (!timer_is_set(tcp, TIMER_DELAYED_ACK))
		timer_set(stack, tcp, TIMER_DELAYED_ACK, stack->now_ns + stack->settings.delayed_ack_ms * NS_PER_MS);
}

/* A segment with an acknowledgement of all that has arrived has left. */
void delay_acknowledged(struct tcp *tcp)
{
	tcp->ack_now = 0;
	tcp->ack_segments = 0;
	tcp->last_ack = tcp->rcv_nxt;
	timer_stop(tcp, TIMER_DELAYED_ACK);
}

void delay_expired(struct stack *stack, struct tcp *tcp)
{
	stack_count(stack, STACK_delayed_acks);
	tcp->ack_now = 1;
}
