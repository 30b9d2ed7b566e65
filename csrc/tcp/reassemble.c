/* What arrives: cut to the window, put into the program's queue when its turn has come, kept until then. And what the peer is told of
 * what is kept: SACK (RFC 2018, 3 and 4) and D-SACK (RFC 2883, 4). */
#include "tcp/rules.h"

/* A cell that waits: `sequence` of its first byte, `note` whether FIN follows its last. */
static uint32_t end_of(const struct cell *cell)
{
	return cell->sequence + cell->bytes;
}

/* -- what is told --------------------------------------------------------------------------------------------------------- */

/* The latest range goes first; those that it touches become part of it. */
static void note_received(struct tcp *tcp, uint32_t left, uint32_t right)
{
	struct segment_sack kept[RECEIVED_RANGES_MAX];
	uint32_t count = 1;

	for (uint32_t i = 0; i < tcp->received_count; i++) {
		struct segment_sack one = tcp->received[i];

		if (!seq_after(one.left, right) && !seq_before(one.right, left)) {
			left = seq_earlier(left, one.left);
			right = seq_later(right, one.right);
		} else if (count < RECEIVED_RANGES_MAX) {
			kept[count++] = one;
		}
	}
	kept[0] = (struct segment_sack){left, right};
	memcpy(tcp->received, kept, count * sizeof(kept[0]));
	tcp->received_count = (uint8_t)count;
}

static void forget_received_before(struct tcp *tcp, uint32_t sequence)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < tcp->received_count; i++)
		if (seq_after(tcp->received[i].right, sequence))
			tcp->received[count++] = tcp->received[i];
	tcp->received_count = (uint8_t)count;
}

void reassemble_note_duplicate(struct tcp *tcp, uint32_t left, uint32_t right)
{
	if (!tcp->may_sack)
		return;
	tcp->has_duplicate = 1;
	tcp->duplicate = (struct segment_sack){left, right};
}

/* RFC 2018, 4: the latest first, as many as fit; RFC 2883, 4: before them, once, what came twice. */
void reassemble_fill_sacks(struct tcp *tcp, struct segment *segment)
{
	uint32_t most = segment->has_timestamp ? SEGMENT_SACKS_MAX - 1 : SEGMENT_SACKS_MAX, count = 0;

	if (!tcp->may_sack)
		return;
	if (tcp->has_duplicate)
		segment->sacks[count++] = tcp->duplicate;
	for (uint32_t i = 0; i < tcp->received_count && count < most; i++)
		segment->sacks[count++] = tcp->received[i];
	segment->sack_count = (uint8_t)count;
	tcp->has_duplicate = 0;
}

/* -- in order ------------------------------------------------------------------------------------------------------------- */

/* A cell's bytes, which are the next, into the queue; the cell with them. */
static void take(struct stack *stack, struct tcp *tcp, uint32_t index)
{
	struct cell *cell = stack_cell(stack, index);

	tcp->rcv_nxt += cell->bytes;
	if (cell->bytes)
		byte_queue_put_cell(stack, &tcp->received_bytes, index, cell);
	else
		stack_give_back_held(stack, index);
	endpoint_changed(&tcp->end);
}

static void cut_front(struct cell *cell, uint32_t bytes)
{
	cell->offset = (uint16_t)(cell->offset + bytes);
	cell->bytes = (uint16_t)(cell->bytes - bytes);
	cell->sequence += bytes;
}

static uint32_t pop_waiting(struct stack *stack, struct tcp *tcp)
{
	uint32_t index = tcp->waiting_first;

	tcp->waiting_first = stack_cell(stack, index)->next;
	if (!tcp->waiting_first)
		tcp->waiting_last = 0;
	tcp->waiting_cells--;
	return index;
}

/* Of what waits, all whose turn has come. 1: the peer's FIN is among it. */
static int take_waiting(struct stack *stack, struct tcp *tcp)
{
	int has_fin = 0;

	while (tcp->waiting_first && !seq_after(stack_cell(stack, tcp->waiting_first)->sequence, tcp->rcv_nxt)) {
		uint32_t index = pop_waiting(stack, tcp);
		struct cell *cell = stack_cell(stack, index);
		uint32_t old = tcp->rcv_nxt - cell->sequence;

		has_fin |= cell->note && !seq_before(end_of(cell), tcp->rcv_nxt);
		cut_front(cell, tcp_least(old, cell->bytes));
		take(stack, tcp, index);
	}
	forget_received_before(tcp, tcp->rcv_nxt);
	return has_fin;
}

/* -- out of order --------------------------------------------------------------------------------------------------------- */

/* The last one that begins at or before `sequence`; 0: none does. */
static uint32_t find_before(const struct stack *stack, const struct tcp *tcp, uint32_t sequence)
{
	uint32_t found = 0;

	if (tcp->waiting_last && !seq_after(stack_cell(stack, tcp->waiting_last)->sequence, sequence))
		return tcp->waiting_last;
	for (uint32_t index = tcp->waiting_first; index; index = stack_cell(stack, index)->next) {
		if (seq_after(stack_cell(stack, index)->sequence, sequence))
			break;
		found = index;
	}
	return found;
}

static void link_behind(struct stack *stack, struct tcp *tcp, uint32_t before, uint32_t index)
{
	uint32_t *link = before ? &stack_cell(stack, before)->next : &tcp->waiting_first;

	stack_cell(stack, index)->next = *link;
	*link = index;
	if (!stack_cell(stack, index)->next)
		tcp->waiting_last = index;
	tcp->waiting_cells++;
}

/* Those behind `index` that it covers go; one that it covers a part of stays, and `index` ends before it. */
static void cut_following(struct stack *stack, struct tcp *tcp, uint32_t index)
{
	struct cell *cell = stack_cell(stack, index);

	while (cell->next && seq_before(stack_cell(stack, cell->next)->sequence, end_of(cell))) {
		uint32_t next = cell->next;
		struct cell *other = stack_cell(stack, next);

		if (seq_after(end_of(other), end_of(cell))) {
			cell->bytes = (uint16_t)(other->sequence - cell->sequence);
			cell->note = 0;
			return;
		}
		cell->note |= other->note;
		cell->next = other->next;
		if (!cell->next)
			tcp->waiting_last = index;
		tcp->waiting_cells--;
		stack_give_back_held(stack, next);
	}
}

/* The cell, with its facts filled in, among those that wait. 0: all of it waits already. */
static int keep(struct stack *stack, struct tcp *tcp, uint32_t index)
{
	struct cell *cell = stack_cell(stack, index);
	uint32_t before = find_before(stack, tcp, cell->sequence);

	if (before && seq_after(end_of(stack_cell(stack, before)), cell->sequence)) {
		uint32_t covered = end_of(stack_cell(stack, before)) - cell->sequence;

		if (covered >= cell->bytes)
			return 0;
		cut_front(cell, covered);
	}
	link_behind(stack, tcp, before, index);
	cut_following(stack, tcp, index);
	return 1;
}

/* RFC 5681, 4.2: at once, or the peer would not know that something is missing. */
static void wait_for_earlier(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	uint32_t left = arrival->segment.sequence, right = left + arrival->segment.payload_bytes;

	delay_acknowledge_now(tcp);
	stack_count(stack, STACK_out_of_order);
	if (stack_is_short(stack, RESERVE_OUT_OF_ORDER)) {
		stack_count(stack, STACK_out_of_order_dropped);
		return;
	}
	if (keep(stack, tcp, arrival->cell))
		arrival->cell = 0;
	else if (left != right)
		reassemble_note_duplicate(tcp, left, right);
	if (left != right)
		note_received(tcp, left, right);
}

/* -- arrival -------------------------------------------------------------------------------------------------------------- */

/* What has come before, and what goes beyond the window, is cut off (RFC 9293, 3.10.7.4, first). A FIN takes no room. */
static void cut_to_window(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	struct segment *segment = &arrival->segment;
	uint32_t end = segment->sequence + segment->payload_bytes;

	if (seq_before(segment->sequence, tcp->rcv_nxt)) {
		uint32_t old = tcp_least(tcp->rcv_nxt - segment->sequence, segment->payload_bytes);

		if (old)
			reassemble_note_duplicate(tcp, segment->sequence, segment->sequence + old);
		segment->payload_offset += old;
		segment->payload_bytes -= old;
		segment->sequence += old;
		delay_acknowledge_now(tcp);
	}
	if (seq_after(end, tcp->rcv_adv)) {
		segment->payload_bytes -= tcp_least(end - tcp->rcv_adv, segment->payload_bytes);
		segment->flags &= (uint8_t)~SEGMENT_FIN;
		delay_acknowledge_now(tcp);
	}
}

/* The payload alone is what the cell has from now on. */
static void describe_cell(struct arrival *arrival)
{
	struct cell *cell = stack_cell(arrival->stack, arrival->cell);

	cell->offset = (uint16_t)(cell->offset + arrival->packet->payload_offset + arrival->segment.payload_offset);
	cell->bytes = (uint16_t)arrival->segment.payload_bytes;
	cell->sequence = arrival->segment.sequence;
	cell->note = !!(arrival->segment.flags & SEGMENT_FIN);
}

static void take_in_order(struct arrival *arrival)
{
	struct stack *stack = arrival->stack;
	struct tcp *tcp = arrival->tcp;
	int fills_gap = tcp->waiting_first != 0, has_fin = arrival->segment.flags & SEGMENT_FIN;

	take(stack, tcp, arrival->cell);
	arrival->cell = 0;
	if (fills_gap) {
		has_fin |= take_waiting(stack, tcp);
		delay_acknowledge_now(tcp); /* RFC 5681, 4.2 */
	} else if (!has_fin) {
		delay_acknowledge(stack, tcp);
	}
	if (has_fin)
		tcp_fin_arrived(stack, tcp);
}

/* States in which the peer may still send (RFC 9293, 3.10.7.4, seventh and eighth). */
static int peer_may_send(const struct tcp *tcp)
{
	return tcp->state == STATE_ESTABLISHED || tcp->state == STATE_FIN_WAIT_1 || tcp->state == STATE_FIN_WAIT_2;
}

/* The segment's bytes and FIN. Bytes for which nobody is there any more reset the connection (RFC 1122, 4.2.2.13; RFC 2525, 2.17). */
void reassemble_payload(struct arrival *arrival)
{
	struct tcp *tcp = arrival->tcp;
	struct segment *segment = &arrival->segment;

	if ((!segment->payload_bytes && !(segment->flags & SEGMENT_FIN)) || !peer_may_send(tcp))
		return;
	if (segment->payload_bytes && tcp->is_detached &&
	    seq_after(segment->sequence + segment->payload_bytes, tcp->rcv_nxt)) {
		tcp_reset_connection(arrival->stack, tcp);
		return;
	}
	cut_to_window(arrival);
	if (!segment->payload_bytes && !(segment->flags & SEGMENT_FIN))
		return;
	describe_cell(arrival);
	if (segment->sequence == tcp->rcv_nxt && segment->payload_bytes && stack_is_short(arrival->stack, RESERVE_IN_ORDER))
		stack_count(arrival->stack, STACK_in_order_dropped);
	else if (segment->sequence == tcp->rcv_nxt)
		take_in_order(arrival);
	else
		wait_for_earlier(arrival);
}

void reassemble_forget(struct stack *stack, struct tcp *tcp)
{
	while (tcp->waiting_first)
		stack_give_back_held(stack, pop_waiting(stack, tcp));
	tcp->received_count = 0;
}
