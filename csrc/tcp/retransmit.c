/* The retransmission timer: RFC 6298, 5; how long one goes on: RFC 1122, 4.2.3.5 and RFC 9293, 3.8.3. */
#include <errno.h>

#include "tcp/rules.h"

#define RETRIES_MAX 15u /* R2, as Linux has it: between 13 and 30 minutes, where the timeout is not very short */
#define GIVE_UP_AFTER_NS 100000000000ull /* R2 is never less (RFC 1122, 4.2.3.5) */

static uint64_t due_ns(const struct stack *stack, const struct tcp *tcp)
{
	return stack->now_ns + rtt_timeout_ns(tcp, tcp->retries);
}

/* 5.2 and 5.3: something was acknowledged. */
void retransmit_restart(struct stack *stack, struct tcp *tcp)
{
	if (tcp_flight(tcp))
		timer_set(stack, tcp, TIMER_RETRANSMIT, due_ns(stack, tcp));
	else
		timer_stop(tcp, TIMER_RETRANSMIT);
}

/* 5.1: something was sent. */
void retransmit_begin(struct stack *stack, struct tcp *tcp)
{
	if (tcp_flight(tcp) && !timer_is_set(tcp, TIMER_RETRANSMIT))
		timer_set(stack, tcp, TIMER_RETRANSMIT, due_ns(stack, tcp));
}

/* What the program is told: what an ICMP error said, if one did. */
static int why_it_ends(const struct tcp *tcp)
{
	return tcp->soft_error ? tcp->soft_error : ETIMEDOUT;
}

static void handshake_expired(struct stack *stack, struct tcp *tcp)
{
	if (tcp->retries >= tcp->options.syn_retries || idle_user_timeout_is_over(stack, tcp)) {
		tcp_end(stack, tcp, why_it_ends(tcp));
		return;
	}
	tcp->retries++;
	rtt_forget_timed(tcp);
	emit_syn(stack, tcp);
}

static int is_given_up(const struct stack *stack, const struct tcp *tcp)
{
	return tcp->retries >= RETRIES_MAX && stack->now_ns - tcp->unanswered_since_ns >= GIVE_UP_AFTER_NS;
}

/* 5.4 to 5.6: the earliest that is not acknowledged, and the timer anew, doubled. output_all sends it. */
void retransmit_expired(struct stack *stack, struct tcp *tcp)
{
	if (!tcp_is_synchronized(tcp)) {
		handshake_expired(stack, tcp);
		return;
	}
	if (!tcp_flight(tcp))
		return;
	if (is_given_up(stack, tcp) || idle_user_timeout_is_over(stack, tcp)) {
		tcp_end(stack, tcp, why_it_ends(tcp));
		return;
	}
	recover_timeout(stack, tcp);
	tcp->retries++;
	timer_set(stack, tcp, TIMER_RETRANSMIT, due_ns(stack, tcp));
}
