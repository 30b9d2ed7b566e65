/* How a segment is built: its bytes are copied out of the send queue into a cell of its own, so that what is sent again, after the
 * path's MTU has changed or several small pieces have gathered, need not be what was sent before. */
#include "frame/usual.h"
#include "ip/ip.h"
#include "tcp/rules.h"

#define NS_PER_MS 1000000ull

/* RFC 7323, 5.4: a tick of 1 ms. */
uint32_t emit_clock(const struct stack *stack, const struct tcp *tcp)
{
	return (uint32_t)(stack->now_ns / NS_PER_MS) + tcp->ts_offset;
}

static struct segment header_of(struct stack *stack, struct tcp *tcp, uint32_t sequence, uint8_t flags)
{
	struct segment segment = {
		.source_port = tcp->end.local_port,
		.destination_port = tcp->end.remote_port,
		.sequence = sequence,
		.flags = flags,
	};

	if (tcp->has_timestamps) {
		segment.has_timestamp = 1;
		segment.timestamp = emit_clock(stack, tcp);
		segment.timestamp_echo = tcp->ts_recent;
	}
	return segment;
}

/* Puts the header before the cell's `bytes` bytes of payload, which lie at CELL_HEADROOM_BYTES, and sends it. */
static void finish(struct stack *stack, const struct tcp *tcp, uint32_t index, const struct segment *segment,
                   uint32_t bytes)
{
	struct cell *cell = stack_cell(stack, index);
	uint32_t header = (uint32_t)segment_header_bytes(segment);
	struct packet packet = {
		.source = tcp->end.local,
		.destination = tcp->end.remote,
		.protocol = PROTOCOL_TCP,
		.hop_limit = tcp->end.hop_limit,
		.traffic_class = tcp->end.traffic_class,
		.payload_bytes = header + bytes,
	};

	cell->offset = (uint16_t)(CELL_HEADROOM_BYTES - header);
	cell->bytes = (uint16_t)(header + bytes);
	segment_build(stack_cell_bytes(stack, index) + cell->offset, &packet, segment);
	ip_send(stack, index, &packet, tcp->end.interface);
	stack_count(stack, STACK_segments_out);
}

/* The window and the acknowledgement, which every segment but a SYN has. SACK is told where there is room; where there is none, an
 * acknowledgement follows on its own. */
static void acknowledge(struct tcp *tcp, struct segment *segment, uint32_t payload)
{
	int tells = tcp->ack_now && (tcp->received_count || tcp->has_duplicate);

	segment->flags |= SEGMENT_ACK;
	segment->acknowledgement = tcp->rcv_nxt;
	segment->window = (uint16_t)window_offer(tcp);
	if (!payload)
		reassemble_fill_sacks(tcp, segment);
	delay_acknowledged(tcp);
	if (payload && tells)
		delay_acknowledge_now(tcp);
}

/* Copies the payload. What has been sent before is found by a walk, what is new where the last left off. */
static uint32_t fill(struct stack *stack, struct tcp *tcp, uint32_t sequence, uint8_t *to, uint32_t bytes)
{
	uint32_t behind = sequence - tcp->snd_una;

	if (sequence == tcp->snd_nxt)
		return byte_queue_look(stack, &tcp->sent_bytes, &tcp->next_place, behind, to, bytes);
	return byte_queue_peek(stack, &tcp->sent_bytes, behind, to, bytes);
}

/* Nothing is to be told but what every segment tells. */
static int is_usual(const struct tcp *tcp)
{
	return !tcp->received_count && !tcp->has_duplicate && !tcp->has_urgent_out;
}

/* As finish_any, and quicker. */
static void finish_usual(struct stack *stack, struct tcp *tcp, uint32_t index, uint32_t sequence, uint32_t bytes,
                         uint8_t flags)
{
	struct cell *cell = stack_cell(stack, index);
	struct usual usual = {
		.source = &tcp->end.local,
		.destination = &tcp->end.remote,
		.bytes = bytes,
		.sequence = sequence,
		.acknowledgement = tcp->rcv_nxt,
		.timestamp = tcp->has_timestamps ? emit_clock(stack, tcp) : 0,
		.timestamp_echo = tcp->ts_recent,
		.source_port = tcp->end.local_port,
		.destination_port = tcp->end.remote_port,
		.window = (uint16_t)window_offer(tcp),
		.flags = flags | SEGMENT_ACK,
		.has_timestamp = tcp->has_timestamps,
		.hop_limit = ip_hop_limit(tcp->end.hop_limit),
		.traffic_class = tcp->end.traffic_class,
	};
	uint32_t headers = usual_write(stack_cell_bytes(stack, index) + CELL_HEADROOM_BYTES, &usual,
	                               (uint16_t)stack->output.identification++);

	cell->offset = (uint16_t)(CELL_HEADROOM_BYTES - headers);
	cell->bytes = (uint16_t)(headers + bytes);
	ip_send_packet(stack, index, tcp->end.interface);
	stack_count(stack, STACK_segments_out);
	delay_acknowledged(tcp);
}

static void finish_any(struct stack *stack, struct tcp *tcp, uint32_t index, uint32_t sequence, uint32_t bytes,
                       uint8_t flags)
{
	struct segment segment = header_of(stack, tcp, sequence, flags);

	acknowledge(tcp, &segment, bytes);
	urgent_fill(tcp, &segment);
	finish(stack, tcp, index, &segment, bytes);
}

int emit_segment(struct stack *stack, struct tcp *tcp, uint32_t sequence, uint32_t bytes, uint8_t flags)
{
	uint32_t index = ip_take_cell(stack);

	if (!index)
		return 0;
	if (bytes && fill(stack, tcp, sequence, stack_cell_bytes(stack, index) + CELL_HEADROOM_BYTES, bytes) != bytes) {
		stack_give_back_held(stack, index);
		return 0;
	}
	(is_usual(tcp) ? finish_usual : finish_any)(stack, tcp, index, sequence, bytes, flags);
	return 1;
}

int emit_acknowledgement(struct stack *stack, struct tcp *tcp)
{
	uint32_t sequence = tcp->state == STATE_SYN_RECEIVED ? tcp->iss + 1 : tcp->snd_nxt;

	if (emit_segment(stack, tcp, sequence, 0, 0))
		return 1;
	timer_set(stack, tcp, TIMER_DELAYED_ACK, stack->now_ns + NS_PER_MS);
	return 0;
}

/* A number that the peer has acknowledged already, so that it must answer (RFC 9293, 3.8.4; for a closed window as Linux does it: no byte
 * leaves that the window does not allow). */
void emit_probe(struct stack *stack, struct tcp *tcp)
{
	emit_segment(stack, tcp, tcp->snd_una - 1, 0, 0);
}

/* SYN, or SYN, ACK, by the state; and the timer for the next one. */
int emit_syn(struct stack *stack, struct tcp *tcp)
{
	struct segment segment = header_of(stack, tcp, tcp->iss, SEGMENT_SYN);
	uint32_t index = ip_take_cell(stack);

	timer_set(stack, tcp, TIMER_RETRANSMIT, stack->now_ns + rtt_timeout_ns(tcp, tcp->retries));
	if (!index)
		return 0;
	begin_fill_options(stack, tcp, &segment);
	if (tcp->state == STATE_SYN_RECEIVED) {
		segment.flags |= SEGMENT_ACK;
		segment.acknowledgement = tcp->rcv_nxt;
		tcp->last_ack = tcp->rcv_nxt;
		tcp->ack_now = 0;
	}
	if (!tcp->retries)
		rtt_time_segment(stack, tcp, tcp->iss + 1);
	finish(stack, tcp, index, &segment, 0);
	return 1;
}

/* RFC 9293, 3.10.5: <SEQ=SND.NXT><CTL=RST>; with the acknowledgement, as Linux has it. */
void emit_reset(struct stack *stack, struct tcp *tcp)
{
	struct segment segment = header_of(stack, tcp, tcp->snd_nxt, SEGMENT_RST | SEGMENT_ACK);
	uint32_t index = ip_take_cell(stack);

	if (!index)
		return;
	segment.acknowledgement = tcp->rcv_nxt;
	finish(stack, tcp, index, &segment, 0);
	stack_count(stack, STACK_resets_out);
}

/* RFC 9293, 3.5.2, group 1: for a segment that belongs to nobody. */
void emit_reset_for(struct stack *stack, const struct packet *packet, const struct segment *segment)
{
	struct tcp nobody = {
		.end =
			{
				.local = packet->destination,
				.local_port = segment->destination_port,
				.remote = packet->source,
				.remote_port = segment->source_port,
			},
	};
	struct segment reset = {
		.source_port = segment->destination_port,
		.destination_port = segment->source_port,
		.flags = SEGMENT_RST,
	};
	uint32_t index;

	if (segment->flags & SEGMENT_RST || !(index = ip_take_cell(stack)))
		return;
	if (segment->flags & SEGMENT_ACK) {
		reset.sequence = segment->acknowledgement;
	} else {
		reset.flags |= SEGMENT_ACK;
		reset.acknowledgement = segment->sequence + segment->payload_bytes + !!(segment->flags & SEGMENT_SYN) +
		                        !!(segment->flags & SEGMENT_FIN);
	}
	finish(stack, &nobody, index, &reset, 0);
	stack_count(stack, STACK_resets_out);
}
