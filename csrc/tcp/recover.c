/* What is lost, and what is sent again: RFC 6675 with SACK, RFC 6582 (NewReno) without, RFC 3042 (limited transmit), and what follows a
 * timeout (RFC 5681, 3.1; RFC 6298, 5.4 to 5.6).
 *
 * `sacked` is the scoreboard. A sequence number is *lost* when enough behind it has arrived (RFC 6675, IsLost), or a timeout says so.
 * The names of RFC 6675, section 4, stand at the functions. A recovery ends when all is acknowledged that was out when it began. */
#include "tcp/congestion.h"
#include "tcp/rules.h"

#define DUPLICATES_MAX 3u /* DupThresh */

void recover_begin(struct tcp *tcp)
{
	tcp->recover = tcp->high_rxt = tcp->lost_until = tcp->iss;
	tcp->ssthresh = UINT32_MAX; /* RFC 5681, 3.1: arbitrarily high */
}

/* -- the scoreboard ------------------------------------------------------------------------------------------------------- */

/* RFC 2883, 4: what lies below the acknowledgement, or within the second block, came twice, and tells nothing of the scoreboard. */
static int is_duplicate_told(const struct segment *segment)
{
	const struct segment_sack *first = &segment->sacks[0], *second = &segment->sacks[1];

	if (!seq_after(first->right, segment->acknowledgement))
		return 1;
	return segment->sack_count > 1 && !seq_before(first->left, second->left) && !seq_after(first->right, second->right);
}

/* 1: something in it is new. `sacked` stays ascending and apart; where it is full, the range is forgotten. */
static int add_sacked(struct tcp *tcp, struct segment_sack range)
{
	uint32_t first = 0, last;

	while (first < tcp->sacked_count && seq_before(tcp->sacked[first].right, range.left))
		first++;
	for (last = first; last < tcp->sacked_count && !seq_after(tcp->sacked[last].left, range.right); last++)
		;
	if (last == first + 1 && !seq_before(range.left, tcp->sacked[first].left) &&
	    !seq_after(range.right, tcp->sacked[first].right))
		return 0;
	if (last == first && tcp->sacked_count == SACKED_MAX)
		return 0;
	if (last > first) {
		range.left = seq_earlier(range.left, tcp->sacked[first].left);
		range.right = seq_later(range.right, tcp->sacked[last - 1].right);
	}
	memmove(&tcp->sacked[first + 1], &tcp->sacked[last], (tcp->sacked_count - last) * sizeof(range));
	tcp->sacked[first] = range;
	tcp->sacked_count = (uint8_t)(tcp->sacked_count + 1 - (last - first));
	return 1;
}

/* Update(). Blocks that are not about anything that is out are passed over (RFC 5961's spirit: a guesser tells nothing). */
int recover_note_sacks(struct stack *stack, struct tcp *tcp, const struct segment *segment)
{
	uint32_t una = seq_later(segment->acknowledgement, tcp->snd_una);
	int has_news = 0;

	if (!tcp->may_sack)
		return 0;
	for (uint32_t i = 0; i < segment->sack_count; i++) {
		struct segment_sack one = segment->sacks[i];

		if (!seq_before(one.left, one.right))
			continue;
		if (i == 0 && is_duplicate_told(segment))
			stack_count(stack, STACK_duplicates_told);
		else if (!seq_before(one.left, una) && !seq_after(one.right, tcp->snd_nxt))
			has_news |= add_sacked(tcp, one);
	}
	return has_news;
}

static void forget_sacked_before(struct tcp *tcp, uint32_t sequence)
{
	uint32_t gone = 0;

	while (gone < tcp->sacked_count && !seq_after(tcp->sacked[gone].right, sequence))
		gone++;
	tcp->sacked_count = (uint8_t)(tcp->sacked_count - gone);
	memmove(&tcp->sacked[0], &tcp->sacked[gone], tcp->sacked_count * sizeof(tcp->sacked[0]));
	if (tcp->sacked_count)
		tcp->sacked[0].left = seq_later(tcp->sacked[0].left, sequence);
}

/* Bytes of [from, to) of which nobody has said that they arrived. */
static uint32_t unsacked(const struct tcp *tcp, uint32_t from, uint32_t to)
{
	uint32_t bytes = seq_before(from, to) ? to - from : 0;

	for (uint32_t i = 0; bytes && i < tcp->sacked_count; i++) {
		uint32_t left = seq_later(tcp->sacked[i].left, from), right = seq_earlier(tcp->sacked[i].right, to);

		if (seq_before(left, right))
			bytes -= right - left;
	}
	return bytes;
}

/* IsLost(): what lies before this and has not arrived is lost. */
static uint32_t lost_edge(const struct tcp *tcp)
{
	uint32_t edge = tcp->recovery == RECOVERY_TIMEOUT ? seq_later(tcp->lost_until, tcp->snd_una) : tcp->snd_una;
	uint32_t bytes = 0;

	for (uint32_t i = tcp->sacked_count; i-- > 0;) {
		bytes += tcp->sacked[i].right - tcp->sacked[i].left;
		if (tcp->sacked_count - i >= DUPLICATES_MAX || bytes > (DUPLICATES_MAX - 1) * tcp->snd_mss)
			return seq_later(edge, tcp->sacked[i].left);
	}
	return edge;
}

static uint32_t highest_sacked(const struct tcp *tcp)
{
	return tcp->sacked_count ? tcp->sacked[tcp->sacked_count - 1].right : tcp->snd_una;
}

static uint32_t skip_sacked(const struct tcp *tcp, uint32_t sequence)
{
	for (uint32_t i = 0; i < tcp->sacked_count; i++)
		if (!seq_before(sequence, tcp->sacked[i].left) && seq_before(sequence, tcp->sacked[i].right))
			return tcp->sacked[i].right;
	return sequence;
}

/* At most a segment from `from`, and nothing that has arrived. */
static uint32_t piece(const struct tcp *tcp, uint32_t from, uint32_t end)
{
	end = seq_earlier(end, from + tcp->snd_mss);
	for (uint32_t i = 0; i < tcp->sacked_count; i++)
		if (seq_after(tcp->sacked[i].left, from))
			return seq_earlier(end, tcp->sacked[i].left) - from;
	return end - from;
}

/* -- entering ------------------------------------------------------------------------------------------------------------- */

static void lose(struct stack *stack, struct tcp *tcp)
{
	/* RFC 3042 and RFC 5681, 3.2, 2: what limited transmit added does not count */
	congestion_of(tcp)->lost(stack, tcp, tcp_least(tcp_flight(tcp), tcp_most(tcp->cwnd, tcp->snd_mss)));
}

static void begin_recovery(struct tcp *tcp, enum recovery recovery)
{
	tcp->recovery = (uint8_t)recovery;
	tcp->recover = tcp->snd_nxt;
	tcp->high_rxt = tcp->snd_una;
	tcp->is_rescued = 0;
	tcp->must_retransmit = 1;
	rtt_forget_timed(tcp);
}

/* RFC 6675, 5, step 4; RFC 6582, 3.2, steps 2 and 3; RFC 5681, 3.2. */
static void begin_fast(struct stack *stack, struct tcp *tcp)
{
	lose(stack, tcp);
	begin_recovery(tcp, RECOVERY_FAST);
	tcp->cwnd = tcp->ssthresh + (tcp->may_sack ? 0 : DUPLICATES_MAX * tcp->snd_mss);
	stack_count(stack, STACK_fast_recoveries);
}

/* RFC 6582, 3.2, 2: duplicates of our own needless retransmissions do not begin another one. */
static int may_begin_fast(const struct tcp *tcp)
{
	if (tcp->may_sack)
		return tcp->duplicates >= DUPLICATES_MAX || seq_after(lost_edge(tcp), tcp->snd_una);
	return tcp->duplicates >= DUPLICATES_MAX && seq_after(tcp->snd_una, tcp->recover);
}

void recover_duplicate(struct stack *stack, struct tcp *tcp)
{
	tcp->duplicates++;
	if (tcp->recovery == RECOVERY_FAST && !tcp->may_sack)
		tcp->cwnd += tcp->snd_mss; /* RFC 5681, 3.2, 4: another segment has left the network */
	else if (tcp->recovery == RECOVERY_NONE && may_begin_fast(tcp))
		begin_fast(stack, tcp);
}

/* RFC 5681, 3.1, equation 4, for the first timeout of a segment only; RFC 2018, 8: the scoreboard may be wrong. */
void recover_timeout(struct stack *stack, struct tcp *tcp)
{
	if (!tcp->retries)
		lose(stack, tcp);
	begin_recovery(tcp, RECOVERY_TIMEOUT);
	tcp->cwnd = tcp->snd_mss;
	tcp->lost_until = tcp->snd_nxt;
	tcp->sacked_count = 0;
	tcp->duplicates = 0;
	stack_count(stack, STACK_timeouts);
}

/* A path is narrower than we knew: all that is out is too large, and nothing is congested (RFC 1191, 6.4). */
void recover_too_big(struct tcp *tcp)
{
	begin_recovery(tcp, RECOVERY_TIMEOUT);
	tcp->lost_until = tcp->snd_nxt;
}

/* -- leaving -------------------------------------------------------------------------------------------------------------- */

/* RFC 6582, 3.2, 3, a full acknowledgement: cwnd was inflated. */
static void end_recovery(struct tcp *tcp)
{
	if (tcp->recovery == RECOVERY_FAST && !tcp->may_sack)
		tcp->cwnd = tcp_least(tcp->ssthresh, tcp_most(tcp_flight(tcp), tcp->snd_mss) + tcp->snd_mss);
	tcp->recovery = RECOVERY_NONE;
	tcp->must_retransmit = 0;
}

/* RFC 6582, 3.2, 3, a partial acknowledgement: the next hole is where it ends. */
static void go_on_without_sack(struct tcp *tcp, uint32_t bytes)
{
	tcp->must_retransmit = 1;
	tcp->cwnd -= tcp_least(bytes, tcp->cwnd);
	if (bytes >= tcp->snd_mss)
		tcp->cwnd += tcp->snd_mss;
	tcp->cwnd = tcp_most(tcp->cwnd, tcp->snd_mss);
}

/* `bytes` more are acknowledged. */
void recover_advanced(struct stack *stack, struct tcp *tcp, uint32_t bytes)
{
	int is_over = !seq_before(tcp->snd_una, tcp->recover);

	if (likely(tcp_is_quiet(tcp))) {
		tcp->high_rxt = seq_later(tcp->high_rxt, tcp->snd_una);
		if (tcp->is_cwnd_limited)
			congestion_of(tcp)->acknowledged(stack, tcp, bytes);
		return;
	}
	forget_sacked_before(tcp, tcp->snd_una);
	tcp->high_rxt = seq_later(tcp->high_rxt, tcp->snd_una);
	tcp->duplicates = 0;
	if (tcp->recovery == RECOVERY_FAST) {
		if (is_over)
			end_recovery(tcp);
		else if (!tcp->may_sack)
			go_on_without_sack(tcp, bytes);
		return;
	}
	if (tcp->is_cwnd_limited || tcp->recovery == RECOVERY_TIMEOUT)
		congestion_of(tcp)->acknowledged(stack, tcp, bytes);
	if (tcp->recovery == RECOVERY_TIMEOUT && is_over)
		end_recovery(tcp);
	if (tcp->recovery == RECOVERY_NONE && seq_after(lost_edge(tcp), tcp->snd_una)) /* RFC 6675, 5: (2) at an advance */
		begin_fast(stack, tcp);
}

/* -- what may be sent ----------------------------------------------------------------------------------------------------- */

/* SetPipe(). Without SACK, in fast recovery, cwnd is inflated instead. */
uint32_t recover_pipe(const struct tcp *tcp)
{
	if (!tcp->sacked_count && tcp->recovery != RECOVERY_TIMEOUT && (tcp->recovery == RECOVERY_NONE || !tcp->may_sack))
		return tcp_flight(tcp);
	return unsacked(tcp, lost_edge(tcp), tcp->snd_nxt) + unsacked(tcp, tcp->snd_una, tcp->high_rxt);
}

/* NextSeg(), rule 1; the first segment of a recovery whatever is known. */
uint32_t recover_lost(const struct tcp *tcp, uint32_t *from)
{
	uint32_t edge;

	if (tcp->must_retransmit) {
		*from = tcp->snd_una;
		return piece(tcp, *from, tcp->snd_nxt);
	}
	if (tcp->recovery == RECOVERY_NONE)
		return 0;
	edge = lost_edge(tcp);
	*from = skip_sacked(tcp, seq_later(tcp->snd_una, tcp->high_rxt));
	return seq_before(*from, edge) ? piece(tcp, *from, edge) : 0;
}

/* Rule 4: the last segment, once, so that an acknowledgement comes that ends the recovery. Not one that was just sent
 * again, and not when new ones have gone since: theirs will do. */
static uint32_t rescue(struct stack *stack, struct tcp *tcp, uint32_t *from)
{
	uint32_t end = tcp->snd_nxt;

	if (tcp->is_rescued || tcp->sacked_count == 0 || end != tcp->recover)
		return 0;
	if (tcp->sacked[tcp->sacked_count - 1].right == end)
		end = tcp->sacked[tcp->sacked_count - 1].left;
	if (!seq_after(end, tcp->high_rxt))
		return 0;
	*from = seq_later(end - tcp_least(tcp->snd_mss, end - tcp->snd_una), tcp->snd_una);
	*from = skip_sacked(tcp, *from);
	if (!seq_before(*from, end))
		return 0;
	tcp->is_rescued = 1;
	stack_count(stack, STACK_rescues);
	return piece(tcp, *from, end);
}

uint32_t recover_perhaps_lost(struct stack *stack, struct tcp *tcp, uint32_t *from)
{
	uint32_t end = highest_sacked(tcp);

	if (tcp->recovery != RECOVERY_FAST || !tcp->may_sack)
		return 0;
	*from = skip_sacked(tcp, seq_later(tcp->snd_una, tcp->high_rxt));
	if (seq_before(*from, end)) /* rule 3 */
		return piece(tcp, *from, end);
	return rescue(stack, tcp, from);
}

/* A rescue, which begins behind what is next, leaves HighRxt where it is (RFC 6675, NextSeg, rule 4). */
void recover_sent_again(struct tcp *tcp, uint32_t from, uint32_t end)
{
	tcp->must_retransmit = 0;
	if (!seq_after(from, skip_sacked(tcp, seq_later(tcp->snd_una, tcp->high_rxt))))
		tcp->high_rxt = seq_later(tcp->high_rxt, end);
}

uint32_t recover_allowed(const struct tcp *tcp)
{
	if (tcp->recovery == RECOVERY_NONE && !tcp->may_sack && tcp->duplicates && tcp->duplicates < DUPLICATES_MAX)
		return tcp->cwnd + tcp->duplicates * tcp->snd_mss; /* RFC 3042 */
	return tcp->cwnd;
}
