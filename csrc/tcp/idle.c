/* Time without news: keepalive (RFC 9293, 3.8.4), the user timeout (RFC 5482), and who may take the place of a connection in TIME-WAIT
 * (RFC 1122, 4.2.2.13; RFC 6191, 2). */
#include <errno.h>

#include "tcp/rules.h"

#define NS_PER_MS 1000000ull

void idle_keepalive_begin(struct stack *stack, struct tcp *tcp)
{
	if (tcp->options.keepalive)
		timer_set(stack, tcp, TIMER_KEEPALIVE, tcp->heard_at_ns + tcp->options.keepalive_idle_ms * NS_PER_MS);
	else
		timer_stop(tcp, TIMER_KEEPALIVE);
}

/* So many probes without an answer end the connection; so does a user timeout, where one is set (as in Linux). */
static int is_given_up(const struct stack *stack, const struct tcp *tcp)
{
	if (!tcp->keepalive_unanswered)
		return 0;
	if (tcp->options.user_timeout_ms)
		return stack->now_ns - tcp->heard_at_ns >= tcp->options.user_timeout_ms * NS_PER_MS;
	return tcp->keepalive_unanswered >= tcp->options.keepalive_probes;
}

/* Only where nothing is out, since the retransmission timer watches over what is. */
void idle_keepalive_expired(struct stack *stack, struct tcp *tcp)
{
	uint64_t idle_until_ns = tcp->heard_at_ns + tcp->options.keepalive_idle_ms * NS_PER_MS;

	if (!tcp_is_synchronized(tcp) || !tcp->options.keepalive)
		return;
	if (stack->now_ns < idle_until_ns || tcp_flight(tcp)) {
		timer_set(stack, tcp, TIMER_KEEPALIVE,
		          stack->now_ns < idle_until_ns ? idle_until_ns
		                                        : stack->now_ns + tcp->options.keepalive_interval_ms * NS_PER_MS);
		return;
	}
	if (is_given_up(stack, tcp)) {
		emit_reset(stack, tcp);
		tcp_end(stack, tcp, tcp->soft_error ? tcp->soft_error : ETIMEDOUT);
		return;
	}
	tcp->keepalive_unanswered++;
	stack_count(stack, STACK_keepalives);
	emit_probe(stack, tcp);
	timer_set(stack, tcp, TIMER_KEEPALIVE, stack->now_ns + tcp->options.keepalive_interval_ms * NS_PER_MS);
}

/* RFC 5482, 3: something has been out for so long. */
int idle_user_timeout_is_over(const struct stack *stack, const struct tcp *tcp)
{
	uint64_t since_ns = tcp->unanswered_since_ns ? tcp->unanswered_since_ns : tcp->heard_at_ns;

	return tcp->options.user_timeout_ms && stack->now_ns - since_ns >= tcp->options.user_timeout_ms * NS_PER_MS;
}

/* A SYN that is newer than all that the old connection got, by its timestamp or by its number. */
int idle_may_reuse(const struct tcp *tcp, const struct segment *segment)
{
	if (tcp->state != STATE_TIME_WAIT || (segment->flags & (SEGMENT_SYN | SEGMENT_ACK | SEGMENT_RST)) != SEGMENT_SYN)
		return 0;
	if (tcp->has_timestamps && segment->has_timestamp && segment->timestamp != tcp->ts_recent)
		return seq_after(segment->timestamp, tcp->ts_recent);
	return seq_after(segment->sequence, tcp->rcv_nxt);
}
