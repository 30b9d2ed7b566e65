/* RFC 9293 3.1 and 3.2 (header, and the options of section 3.7.1), RFC 7323 (window scale, timestamps), RFC 2018 (SACK).
 * Options are written in the order and with the padding that most stacks use (RFC 7323, appendix A). */
#include "frame/segment.h"

#include "frame/bytes.h"
#include "frame/checksum.h"
#include "frame/header.h"

/* Kind and length of an option: RFC 9293, 3.2; RFC 7323, 2.2 and 3.2; RFC 2018, 2 and 3. */
enum {
	OPTION_END = 0,
	OPTION_NOTHING = 1,
	OPTION_MSS = 2,
	OPTION_WINDOW_SCALE = 3,
	OPTION_SACK_PERMITTED = 4,
	OPTION_SACK = 5,
	OPTION_TIMESTAMP = 8
};
enum {
	MSS_BYTES = 4,
	WINDOW_SCALE_BYTES = 3,
	SACK_PERMITTED_BYTES = 2,
	TIMESTAMP_BYTES = 10,
	SACK_BLOCK_BYTES = 8
};

#define WINDOW_SCALE_MAX 14 /* RFC 7323, 2.3 */

/* -- reading -------------------------------------------------------------------------------------------------------------- */

static void read_sacks(const uint8_t *option, size_t bytes, struct segment *segment)
{
	for (size_t at = 2; at + SACK_BLOCK_BYTES <= bytes && segment->sack_count < SEGMENT_SACKS_MAX;
	     at += SACK_BLOCK_BYTES)
		segment->sacks[segment->sack_count++] =
			(struct segment_sack){bytes_get32(option + at), bytes_get32(option + at + 4)};
}

/* One option of `bytes` bytes. What has a wrong length is passed over. */
static void read_option(const uint8_t *option, size_t bytes, struct segment *segment)
{
	int is_syn = segment->flags & SEGMENT_SYN;

	if (option[0] == OPTION_MSS && bytes == MSS_BYTES && is_syn) {
		segment->maximum_segment_bytes = bytes_get16(option + 2);
	} else if (option[0] == OPTION_WINDOW_SCALE && bytes == WINDOW_SCALE_BYTES && is_syn) {
		segment->has_window_scale = 1;
		segment->window_scale = option[2] < WINDOW_SCALE_MAX ? option[2] : WINDOW_SCALE_MAX;
	} else if (option[0] == OPTION_SACK_PERMITTED && bytes == SACK_PERMITTED_BYTES && is_syn) {
		segment->may_sack = 1;
	} else if (option[0] == OPTION_TIMESTAMP && bytes == TIMESTAMP_BYTES) {
		segment->has_timestamp = 1;
		segment->timestamp = bytes_get32(option + 2);
		segment->timestamp_echo = bytes_get32(option + 6);
	} else if (option[0] == OPTION_SACK) {
		read_sacks(option, bytes, segment);
	}
}

static void read_options(const uint8_t *at, const uint8_t *end, struct segment *segment)
{
	if (end - at == TCP_USUAL_OPTIONS_BYTES && bytes_get32(at) == TCP_USUAL_OPTIONS) {
		segment->has_timestamp = 1;
		segment->timestamp = bytes_get32(at + 4);
		segment->timestamp_echo = bytes_get32(at + 8);
		return;
	}
	while (at < end && *at != OPTION_END) {
		size_t bytes = 1;

		if (*at != OPTION_NOTHING) {
			if (end - at < 2 || at[1] < 2 || at[1] > end - at)
				return;
			bytes = at[1];
			read_option(at, bytes, segment);
		}
		at += bytes;
	}
}

static int checksum_is_right(const uint8_t *from, const struct packet *packet)
{
	uint64_t sum = checksum_pseudo_header(&packet->source, &packet->destination, PROTOCOL_TCP, packet->payload_bytes);

	return !checksum_finish(checksum_add(sum, from, packet->payload_bytes));
}

enum drop segment_parse(const uint8_t *from, const struct packet *packet, int is_checked, struct segment *segment)
{
	size_t header;

	if (packet->payload_bytes < SEGMENT_HEADER_BYTES)
		return DROP_short_frame;
	header = (size_t)(from[TCP_DATA_OFFSET] >> 4) * 4;
	if (header < SEGMENT_HEADER_BYTES || header > packet->payload_bytes)
		return DROP_bad_transport_header;
	if (!is_checked && !checksum_is_right(from, packet))
		return DROP_bad_transport_checksum;
	*segment = (struct segment){
		.source_port = bytes_get16(from + TCP_SOURCE_PORT),
		.destination_port = bytes_get16(from + TCP_DESTINATION_PORT),
		.sequence = bytes_get32(from + TCP_SEQUENCE),
		.acknowledgement = bytes_get32(from + TCP_ACKNOWLEDGEMENT),
		.flags = from[TCP_FLAGS],
		.window = bytes_get16(from + TCP_WINDOW),
		.urgent = bytes_get16(from + TCP_URGENT),
		.payload_offset = (uint32_t)header,
		.payload_bytes = packet->payload_bytes - (uint32_t)header,
	};
	read_options(from + SEGMENT_HEADER_BYTES, from + header, segment);
	return DROP_none;
}

/* -- writing -------------------------------------------------------------------------------------------------------------- */

static uint8_t *put_kind(uint8_t *to, uint8_t kind, uint8_t bytes)
{
	to[0] = kind;
	to[1] = bytes;
	return to + 2;
}

static uint8_t *put_nothing(uint8_t *to, size_t count)
{
	memset(to, OPTION_NOTHING, count);
	return to + count;
}

static uint8_t *put_mss(uint8_t *to, const struct segment *segment)
{
	to = put_kind(to, OPTION_MSS, MSS_BYTES);
	bytes_put16(to, segment->maximum_segment_bytes);
	return to + 2;
}

static uint8_t *put_timestamp(uint8_t *to, const struct segment *segment)
{
	to = put_kind(put_nothing(to, 2), OPTION_TIMESTAMP, TIMESTAMP_BYTES);
	bytes_put32(to, segment->timestamp);
	bytes_put32(to + 4, segment->timestamp_echo);
	return to + 8;
}

static uint8_t *put_sacks(uint8_t *to, const struct segment *segment)
{
	to = put_kind(put_nothing(to, 2), OPTION_SACK, (uint8_t)(2 + segment->sack_count * SACK_BLOCK_BYTES));
	for (uint32_t i = 0; i < segment->sack_count; i++, to += SACK_BLOCK_BYTES) {
		bytes_put32(to, segment->sacks[i].left);
		bytes_put32(to + 4, segment->sacks[i].right);
	}
	return to;
}

/* Each option with its padding is a multiple of four bytes. */
static size_t put_options(uint8_t *options, const struct segment *segment)
{
	uint8_t *to = options;

	if (segment->maximum_segment_bytes)
		to = put_mss(to, segment);
	if (segment->may_sack)
		to = put_kind(put_nothing(to, 2), OPTION_SACK_PERMITTED, SACK_PERMITTED_BYTES);
	if (segment->has_timestamp)
		to = put_timestamp(to, segment);
	if (segment->has_window_scale) {
		to = put_kind(put_nothing(to, 1), OPTION_WINDOW_SCALE, WINDOW_SCALE_BYTES);
		*to++ = segment->window_scale;
	}
	if (segment->sack_count)
		to = put_sacks(to, segment);
	return (size_t)(to - options);
}

size_t segment_header_bytes(const struct segment *segment)
{
	return (size_t)SEGMENT_HEADER_BYTES + (segment->maximum_segment_bytes ? MSS_BYTES : 0u) +
	       (segment->may_sack ? 2u + SACK_PERMITTED_BYTES : 0u) + (segment->has_timestamp ? 2u + TIMESTAMP_BYTES : 0u) +
	       (segment->has_window_scale ? 1u + WINDOW_SCALE_BYTES : 0u) +
	       (segment->sack_count ? 4u + segment->sack_count * SACK_BLOCK_BYTES : 0u);
}

size_t segment_build(uint8_t *to, const struct packet *packet, const struct segment *segment)
{
	size_t header = SEGMENT_HEADER_BYTES + put_options(to + SEGMENT_HEADER_BYTES, segment);
	uint64_t sum;

	bytes_put16(to + TCP_SOURCE_PORT, segment->source_port);
	bytes_put16(to + TCP_DESTINATION_PORT, segment->destination_port);
	bytes_put32(to + TCP_SEQUENCE, segment->sequence);
	bytes_put32(to + TCP_ACKNOWLEDGEMENT, segment->acknowledgement);
	to[TCP_DATA_OFFSET] = (uint8_t)(header / 4 << 4);
	to[TCP_FLAGS] = segment->flags;
	bytes_put16(to + TCP_WINDOW, segment->window);
	bytes_put16(to + TCP_CHECKSUM, 0);
	bytes_put16(to + TCP_URGENT, segment->urgent);
	sum = checksum_pseudo_header(&packet->source, &packet->destination, PROTOCOL_TCP, packet->payload_bytes);
	bytes_put16(to + TCP_CHECKSUM, checksum_finish(checksum_add(sum, to, packet->payload_bytes)));
	return header;
}
