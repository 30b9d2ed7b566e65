/* The round-trip time and the retransmission timeout: RFC 6298, sections 2 to 4; Karn's rule (3) by forgetting what was timed when
 * something is sent again; timestamps (RFC 7323, 4) where that has left nothing to measure. */
#include "tcp/rules.h"

#define NS_PER_MS 1000000ull
#define NS_PER_SECOND 1000000000ull
#define RTO_FIRST_NS NS_PER_SECOND /* 2.1 */
#define RTO_MAX_NS (120 * NS_PER_SECOND) /* 2.5: at least 60 s; Linux has 120 */
#define GRANULARITY_NS NS_PER_MS /* the wheel's */
#define TIMESTAMP_TICKS_MAX 600000u /* an echo that says more is nonsense */

void rtt_begin(struct tcp *tcp)
{
	tcp->srtt_ns = tcp->rttvar_ns = 0;
	tcp->rto_ns = RTO_FIRST_NS;
}

static uint64_t distance(uint64_t one, uint64_t other)
{
	return one > other ? one - other : other - one;
}

static uint64_t bounded(const struct stack *stack, uint64_t rto_ns)
{
	uint64_t least = stack->settings.rto_min_ms * NS_PER_MS;

	if (rto_ns < least)
		return least;
	return rto_ns < RTO_MAX_NS ? rto_ns : RTO_MAX_NS;
}

/* 2.2 for the first, 2.3 for the others. */
void rtt_sample(const struct stack *stack, struct tcp *tcp, uint64_t rtt_ns)
{
	uint64_t spread;

	if (!rtt_ns)
		rtt_ns = 1;
	if (!tcp->srtt_ns) {
		tcp->srtt_ns = rtt_ns;
		tcp->rttvar_ns = rtt_ns / 2;
	} else {
		tcp->rttvar_ns = (3 * tcp->rttvar_ns + distance(tcp->srtt_ns, rtt_ns)) / 4;
		tcp->srtt_ns = (7 * tcp->srtt_ns + rtt_ns) / 8;
	}
	spread = 4 * tcp->rttvar_ns;
	tcp->rto_ns = bounded(stack, tcp->srtt_ns + (spread > GRANULARITY_NS ? spread : GRANULARITY_NS));
}

/* One segment at a time is timed. */
void rtt_time_segment(const struct stack *stack, struct tcp *tcp, uint32_t end)
{
	if (tcp->timed_at_ns)
		return;
	tcp->timed_at_ns = stack->now_ns ? stack->now_ns : 1;
	tcp->timed_end = end;
}

void rtt_forget_timed(struct tcp *tcp)
{
	tcp->timed_at_ns = 0;
}

/* RFC 7323, 4.3: the echo is of the segment that moved the window, sent again or not. */
static void sample_timestamp(const struct stack *stack, struct tcp *tcp, uint32_t echo)
{
	uint32_t ticks = emit_clock(stack, tcp) - echo;

	if (tcp->has_timestamps && echo && ticks < TIMESTAMP_TICKS_MAX)
		rtt_sample(stack, tcp, ticks * NS_PER_MS);
}

/* Before snd_una moves. `echo`: the segment's TSecr; 0: it has none. */
void rtt_acknowledged(const struct stack *stack, struct tcp *tcp, uint32_t acknowledgement, uint32_t echo)
{
	if (!tcp->timed_at_ns) {
		sample_timestamp(stack, tcp, echo);
	} else if (!seq_before(acknowledgement, tcp->timed_end)) {
		rtt_sample(stack, tcp, stack->now_ns - tcp->timed_at_ns);
		tcp->timed_at_ns = 0;
	}
}

/* 5.5: doubled each time. */
uint64_t rtt_timeout_ns(const struct tcp *tcp, uint32_t backed_off)
{
	uint64_t timeout_ns = tcp->rto_ns;

	while (backed_off-- > 0 && timeout_ns < RTO_MAX_NS)
		timeout_ns *= 2;
	return timeout_ns < RTO_MAX_NS ? timeout_ns : RTO_MAX_NS;
}
