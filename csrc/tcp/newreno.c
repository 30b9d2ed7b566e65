/* RFC 5681, 3.1, with the byte counting of RFC 3465 and the initial window of RFC 6928. The division into slow start and congestion
 * avoidance is by ssthresh; recoveries are bounded by tcp/recover.c. */
#include "tcp/congestion.h"

#define SEGMENTS_A_STEP 2u /* RFC 3465, 2.3: L */

static void begin(const struct stack *stack, struct tcp *tcp)
{
	(void)stack;
	tcp->counted = 0;
}

/* RFC 5681, 3.1 (equation 2) with RFC 3465, 2.2: up to L segments for an acknowledgement; only one of them after a timeout, when what
 * is acknowledged at once may have been sent long before (2.3). */
static void slow_start(struct tcp *tcp, uint32_t bytes)
{
	uint32_t segments = tcp->recovery == RECOVERY_TIMEOUT ? 1 : SEGMENTS_A_STEP;

	tcp->cwnd += tcp_least(bytes, segments * tcp->snd_mss);
}

/* RFC 3465, 2.1: one segment for each window of acknowledged bytes. */
static void avoid(struct tcp *tcp, uint32_t bytes)
{
	tcp->counted += bytes;
	if (tcp->counted >= tcp->cwnd) {
		tcp->counted -= tcp->cwnd;
		tcp->cwnd += tcp->snd_mss;
	}
}

static void acknowledged(const struct stack *stack, struct tcp *tcp, uint32_t bytes)
{
	(void)stack;
	if (tcp->cwnd < tcp->ssthresh)
		slow_start(tcp, bytes);
	else
		avoid(tcp, bytes);
}

/* RFC 5681, equation 4. */
static void lost(const struct stack *stack, struct tcp *tcp, uint32_t flight)
{
	(void)stack;
	tcp->ssthresh = tcp_most(flight / 2, 2u * tcp->snd_mss);
	tcp->counted = 0;
}

const struct congestion congestion_newreno = {"newreno", begin, acknowledged, lost};

const struct congestion *congestion_of(const struct tcp *tcp)
{
	static const struct congestion *const algorithms[CONGESTION_ALGORITHMS] = {&congestion_newreno};

	return algorithms[tcp->options.congestion % CONGESTION_ALGORITHMS];
}

uint32_t congestion_initial_window(const struct stack *stack, const struct tcp *tcp)
{
	uint32_t wanted = stack->settings.initial_window, mss = tcp->snd_mss;
	uint32_t least_bytes = wanted >= 10 ? 14600 : 4380; /* RFC 6928, 2; RFC 3390, 1 */

	return tcp_least(wanted * mss, tcp_most(2 * mss, least_bytes));
}

void congestion_after_idle(const struct stack *stack, struct tcp *tcp)
{
	tcp->cwnd = tcp_least(tcp->cwnd, congestion_initial_window(stack, tcp));
}
