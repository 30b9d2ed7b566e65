/* How large a segment may be (RFC 9293, 3.7.1; RFC 6691), what a router says of it (RFC 1191, RFC 8201), and what an ICMP error means to
 * a connection (RFC 1122, 4.2.3.9; RFC 5927: only what quotes a segment that is out is believed). */
#include <errno.h>

#include "ip/error.h"
#include "ip/ip.h"
#include "tcp/rules.h"

#define NS_PER_SECOND 1000000000ull
#define MTU_IPV4_MIN \
	552u /* lower ones are not believed: Linux's min_pmtu; RFC 791 has 68, which makes a connection useless */
#define MTU_IPV6_MIN 1280u /* RFC 8201, 4; RFC 8200, 5 */
#define TRY_LARGER_AFTER_S 600u /* RFC 1191, 6.3; RFC 8201, 4 */
#define PEER_MSS_IPV4 536u /* where the peer does not say (RFC 9293, 3.7.1, MUST-15) */
#define PEER_MSS_IPV6 1220u
#define MSS_MIN 64u
#define TIMESTAMP_BYTES 12u /* with padding */

static int is_ipv4(const struct tcp *tcp)
{
	return address_is_ipv4(&tcp->end.remote);
}

void mtu_begin(const struct stack *stack, struct tcp *tcp)
{
	tcp->path_mtu = stack->settings.mtu;
	tcp->path_mtu_lowered_s = 0;
	mtu_fit(tcp);
}

/* RFC 6691: what is agreed does not count options, so they are taken off both. */
void mtu_fit(struct tcp *tcp)
{
	uint32_t peer = tcp->peer_mss ? tcp->peer_mss : (is_ipv4(tcp) ? PEER_MSS_IPV4 : PEER_MSS_IPV6);
	uint32_t path = tcp->path_mtu - ip_header_bytes(&tcp->end.remote) - SEGMENT_HEADER_BYTES;
	uint32_t mss = tcp_least(peer, path);

	if (tcp->options.mss)
		mss = tcp_least(mss, tcp->options.mss);
	mss = tcp_most(mss, MSS_MIN);
	tcp->snd_mss = (uint16_t)(mss - (tcp->has_timestamps ? TIMESTAMP_BYTES : 0));
	if (tcp->cwnd)
		tcp->cwnd = tcp_most(tcp->cwnd, tcp->snd_mss); /* or nothing would ever leave */
}

/* RFC 1191, 7.1: where the router does not say, the next of the sizes that networks had. */
static uint32_t next_plateau(uint32_t mtu)
{
	static const uint16_t plateaus[] = {1492, 1006, 576, 552};

	for (size_t i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++)
		if (plateaus[i] < mtu)
			return plateaus[i];
	return MTU_IPV4_MIN;
}

/* Never 0. */
static uint32_t seconds(const struct stack *stack)
{
	return (uint32_t)(stack->now_ns / NS_PER_SECOND) + 1;
}

static void lower(struct stack *stack, struct tcp *tcp, uint32_t told)
{
	uint32_t mtu = tcp_most(told ? told : next_plateau(tcp->path_mtu), is_ipv4(tcp) ? MTU_IPV4_MIN : MTU_IPV6_MIN);

	if (mtu >= tcp->path_mtu)
		return;
	tcp->path_mtu = mtu;
	tcp->path_mtu_lowered_s = seconds(stack);
	mtu_fit(tcp);
	stack_count(stack, STACK_too_big);
	if (!tcp_is_synchronized(tcp))
		return;
	recover_too_big(tcp);
	output_all(stack, tcp);
}

/* After a while the path may be wider again: segments of the old size try it. */
void mtu_try_larger(const struct stack *stack, struct tcp *tcp)
{
	if (!tcp->path_mtu_lowered_s || seconds(stack) - tcp->path_mtu_lowered_s < TRY_LARGER_AFTER_S)
		return;
	mtu_begin(stack, tcp);
}

/* RFC 5927, 4.1: it quotes something that is out. */
static int is_out(const struct tcp *tcp, const struct icmp_error *error)
{
	return !seq_before(error->sequence, tcp->snd_una) && seq_before(error->sequence, tcp->snd_nxt);
}

/* A connection that is synchronized is never ended by it (RFC 5927, 5.2): the error is told if nothing helps. */
static void unreachable(struct stack *stack, struct tcp *tcp, const struct icmp_error *error)
{
	int number = ip_error_number(error);

	if (tcp->state == STATE_SYN_SENT && error->kind == ICMP_HARD)
		tcp_end(stack, tcp, number);
	else
		tcp->soft_error = number;
}

void tcp_receive_error(struct stack *stack, const struct icmp_error *error)
{
	uint32_t index = endpoint_connected(stack, PROTOCOL_TCP, &error->source, error->source_port, &error->destination,
	                                    error->destination_port);
	struct tcp *tcp = tcp_at(stack, index);

	if (!index || tcp->state < STATE_SYN_SENT || !is_out(tcp, error)) {
		stack_count(stack, STACK_icmp_ignored);
		return;
	}
	stack->busy_with = index;
	if (error->kind == ICMP_TOO_BIG)
		lower(stack, tcp, error->next_hop_mtu);
	else
		unreachable(stack, tcp, error);
	stack->busy_with = 0;
}
