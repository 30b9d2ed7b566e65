/* A window that is closed is asked about (RFC 9293, 3.8.6.1), and what is too small to be worth sending goes after a while all the same
 * (3.8.6.2.1, rule 4; a cork). One timer serves both, since nothing is out while it runs. */
#include <errno.h>

#include "tcp/rules.h"

#define OVERRIDE_NS 200000000ull /* between 0.1 and 1 s */
#define PROBES_MAX \
	15u /* without any answer: the peer is gone; one that answers may go on for ever (RFC 1122, 4.2.2.17) */

/* Something waits to be sent, and nothing is out whose acknowledgement would tell us to go on. */
void persist_begin(struct stack *stack, struct tcp *tcp)
{
	uint64_t after_ns = tcp->snd_wnd ? OVERRIDE_NS : rtt_timeout_ns(tcp, tcp->probes);

	if (!timer_is_set(tcp, TIMER_PERSIST))
		timer_set(stack, tcp, TIMER_PERSIST, stack->now_ns + after_ns);
}

void persist_end(struct tcp *tcp)
{
	timer_stop(tcp, TIMER_PERSIST);
	tcp->probes = tcp->probes_unanswered = 0;
}

/* output_all, which follows, sends what is overridden, and begins the timer anew. */
void persist_expired(struct stack *stack, struct tcp *tcp)
{
	if (tcp_flight(tcp))
		return;
	if (tcp->snd_wnd) {
		tcp->is_overridden = 1;
		return;
	}
	if (tcp->probes_unanswered >= PROBES_MAX || (tcp->probes_unanswered && idle_user_timeout_is_over(stack, tcp))) {
		tcp_end(stack, tcp, ETIMEDOUT);
		return;
	}
	tcp->probes += tcp->probes < UINT8_MAX; /* ever less often, answered or not */
	tcp->probes_unanswered++;
	stack_count(stack, STACK_window_probes);
	emit_probe(stack, tcp);
}
