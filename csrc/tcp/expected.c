/* The short way of the segment that is expected: in order, of a connection about which nothing is unusual, bringing bytes, or an
 * acknowledgement of something new, or both (header prediction, as it is called). It is judged on the bytes as they lie. Whatever is
 * unusual falls out before anything has been changed, and takes the long way from its beginning: tcp/receive.c. So do all when cells
 * are short, since here each segment keeps its own.
 *
 * Every rule here is one of the long way's, for the case that is left: the functions that it calls are the same. */
#include "frame/usual.h"
#include "tcp/rules.h"

/* What TCP's header has told. */
struct expected {
	uint32_t offset; /* of the payload in the packet */
	uint32_t payload; /* bytes */
	uint32_t acknowledgement;
	uint32_t window; /* scaled */
	uint32_t timestamp; /* 0, and so is the echo, where timestamps were not agreed on */
	uint32_t echo;
};

/* -- which it is ---------------------------------------------------------------------------------------------------------- */

/* Of the ports alone one word. */
static inline int is_of(const struct endpoint *one, const struct usual_packet *packet)
{
	return ((uint32_t)one->remote_port << 16 | one->local_port) == bytes_get32(packet->from + TCP_SOURCE_PORT) &&
	       one->protocol == PROTOCOL_TCP &&
	       address_words_equal(address_words(one->remote.bytes), usual_source(packet)) &&
	       address_words_equal(address_words(one->local.bytes), usual_destination(packet));
}

static uint32_t look_up(const struct stack *stack, const struct usual_packet *packet)
{
	struct address source = address_of_words(usual_source(packet));
	struct address destination = address_of_words(usual_destination(packet));

	return endpoint_connected(stack, PROTOCOL_TCP, &destination, bytes_get16(packet->from + TCP_DESTINATION_PORT),
	                          &source, bytes_get16(packet->from + TCP_SOURCE_PORT));
}

/* The one that the last expected segment was for, most of the time. */
static inline struct tcp *find(struct stack *stack, const struct usual_packet *packet)
{
	struct tcp *tcp = tcp_at(stack, stack->latest);

	if (likely(is_of(&tcp->end, packet)))
		return tcp;
	stack->latest = look_up(stack, packet);
	return tcp_at(stack, stack->latest);
}

/* The options are the timestamps, where they were agreed on, and none where not; and they are not older (RFC 7323, 5.3, R1). */
static inline int read_options(const struct tcp *tcp, const uint8_t *from, struct expected *expected)
{
	expected->timestamp = expected->echo = 0;
	if (!tcp->has_timestamps)
		return 1;
	expected->timestamp = bytes_get32(from + TCP_USUAL_TIMESTAMP);
	expected->echo = bytes_get32(from + TCP_USUAL_ECHO);
	return bytes_get32(from + TCP_OPTIONS) == TCP_USUAL_OPTIONS && !seq_before(expected->timestamp, tcp->ts_recent);
}

/* RFC 9293, 3.10.7.4: the next byte, within the window; it acknowledges what is out, and brings or acknowledges something. */
static inline int is_in_turn(const struct tcp *tcp, const uint8_t *from, const struct expected *expected)
{
	uint32_t newly = expected->acknowledgement - tcp->snd_una;

	return bytes_get32(from + TCP_SEQUENCE) == tcp->rcv_nxt && expected->payload <= tcp->rcv_adv - tcp->rcv_nxt &&
	       newly <= tcp_flight(tcp) && (newly | expected->payload) && expected->window;
}

static inline int read_segment(const struct tcp *tcp, const struct usual_packet *packet, struct expected *expected)
{
	const uint8_t *from = packet->from;
	uint32_t header = usual_header_bytes(tcp->has_timestamps);

	if (packet->bytes < header || !usual_head(from, header) || !read_options(tcp, from, expected))
		return 0;
	expected->offset = packet->ip_header + header;
	expected->payload = packet->bytes - header;
	expected->acknowledgement = bytes_get32(from + TCP_ACKNOWLEDGEMENT);
	expected->window = (uint32_t)bytes_get16(from + TCP_WINDOW) << tcp->snd_scale;
	return is_in_turn(tcp, from, expected);
}

/* -- what it changes ------------------------------------------------------------------------------------------------------ */

static inline void take_bytes(struct stack *stack, struct tcp *tcp, const struct expected *expected, uint32_t index,
                              struct cell *cell)
{
	cell->offset = (uint16_t)(cell->offset + expected->offset);
	cell->bytes = (uint16_t)expected->payload;
	byte_queue_append(stack, &tcp->received_bytes, index, cell, expected->payload);
	tcp->rcv_nxt += expected->payload;
	endpoint_changed(&tcp->end);
	if (!tcp->ack_now)
		delay_acknowledge(stack, tcp);
}

static inline void take(struct stack *stack, struct tcp *tcp, const struct expected *expected, uint32_t index,
                        struct cell *cell)
{
	if (tcp->has_timestamps)
		accept_take_timestamp(stack, tcp, tcp->rcv_nxt, expected->timestamp);
	idle_heard(stack, tcp);
	acknowledged_window(tcp, tcp->rcv_nxt, expected->acknowledgement, expected->window);
	if (expected->acknowledgement != tcp->snd_una)
		acknowledged_advance(stack, tcp, expected->acknowledgement, expected->echo);
	if (expected->payload)
		take_bytes(stack, tcp, expected, index, cell);
	else
		stack_give_back_held(stack, index);
}

/* -- all that come together ----------------------------------------------------------------------------------------------- */

/* RFC 5681, 4.2 and RFC 9293, 3.8.6.3: two full segments are acknowledged at once, whatever may follow. */
static inline int cannot_wait(const struct tcp *tcp)
{
	return tcp->rcv_nxt - tcp->last_ack >= 2u * tcp->snd_mss;
}

/* Where a run of expected segments has come to: the connection of the last one, and, of IPv4, which is quickly told, its ends as they
 * lie in the packet. */
struct run {
	struct tcp *tcp; /* NULL: there was none */
	uint64_t addresses;
	uint32_t v4_ports; /* NO_PORTS: of none, or of IPv6 */
};
#define NO_PORTS 1u /* destination 0, which nobody has; and not what usual_read says of IPv6 */

static inline int is_same(const struct run *run, const struct usual_packet *packet)
{
	return packet->address_sum == run->addresses && packet->v4_ports == run->v4_ports;
}

/* The connection of the segment at `from`, if it is the expected one; NULL: it is not. */
static inline struct tcp *judge(struct stack *stack, struct run *run, const uint8_t *from, const struct cell *cell,
                                struct expected *expected)
{
	struct usual_packet packet;
	struct tcp *tcp;

	if (!usual_read(from, cell->bytes, &packet))
		return NULL;
	if (likely(is_same(run, &packet))) {
		tcp = run->tcp;
	} else {
		tcp = find(stack, &packet);
		run->addresses = packet.address_sum;
		run->v4_ports = packet.v4_ports ? packet.v4_ports : NO_PORTS;
	}
	if (!tcp_is_quiet(tcp) || !read_segment(tcp, &packet, expected))
		return NULL;
	return cell->note & CELL_CHECKED || usual_segment_is_right(&packet) ? tcp : NULL;
}

/* Nothing more comes for it now: what it has to send leaves, an acknowledgement among it. */
static inline void answer(struct stack *stack, struct tcp *tcp)
{
	if (tcp)
		output_all(stack, tcp);
}

static void count_taken(struct stack *stack, uint32_t count)
{
	stack->busy_with = 0;
	stack->counters[STACK_packets_in] += count;
	stack->counters[STACK_segments_in] += count;
	stack->counters[STACK_expected] += count;
}

/* 1: it was one. */
static inline int receive_one(struct stack *stack, struct run *run, uint32_t index, struct cell *cell,
                              const uint8_t *data)
{
	struct expected expected;
	struct tcp *tcp;

	if (cell->offset + cell->bytes > CELL_BYTES)
		return 0;
	tcp = judge(stack, run, data + cell->offset, cell, &expected);
	if (!tcp)
		return 0;
	if (tcp != run->tcp) {
		answer(stack, run->tcp);
		stack->busy_with = stack->latest;
		run->tcp = tcp;
	}
	stack_take_from_hand(stack);
	take(stack, tcp, &expected, index, cell);
	if (unlikely(cannot_wait(tcp)))
		output_all(stack, tcp);
	return 1;
}

uint32_t expected_receive(struct stack *stack)
{
	struct cell *facts = stack_cells(stack);
	const uint8_t *data = stack_at(stack, stack->data_offset);
	struct run run = {.v4_ports = NO_PORTS};
	uint32_t first = stack->hand_next, next, count = stack_hand_count(stack);

	if (unlikely(stack_is_short(stack, RESERVE_WHOLE_CELLS)))
		return first;
	for (next = first; next < count; next++) {
		uint32_t index = stack_bounded_cell(stack, stack->hand[next]);

		if (!receive_one(stack, &run, index, facts + index, data + (uint64_t)index * CELL_BYTES))
			break;
	}
	answer(stack, run.tcp);
	count_taken(stack, next - first);
	return next;
}
