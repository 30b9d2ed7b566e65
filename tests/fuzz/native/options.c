/* TCP options: what is read of any bytes at all, written and read again, is the same. First the flags, then how many bytes of payload
 * there are, then the options. */
#include <string.h>

#include "frame/bytes.h"
#include "frame/segment.h"
#include "fuzz.h"

enum {
	OPTIONS_MAX = SEGMENT_HEADER_BYTES_MAX - SEGMENT_HEADER_BYTES,
	PAYLOAD_MAX = 16,
	DATA_OFFSET_AT = 12,
	FLAGS_AT = 13
};

static const uint8_t ends[2][4] = {{192, 0, 2, 1}, {198, 51, 100, 7}};

static struct packet packet_of(size_t bytes)
{
	return (struct packet){
		.source = address_of_ipv4(ends[0]),
		.destination = address_of_ipv4(ends[1]),
		.payload_bytes = (uint32_t)bytes,
		.protocol = PROTOCOL_TCP,
		.hop_limit = 64,
	};
}

/* Of exactly `bytes` bytes, where nothing lies behind. */
static enum drop parse(const uint8_t *from, size_t bytes, int is_checked, struct segment *segment)
{
	uint8_t *copy = malloc(bytes);
	struct packet packet = packet_of(bytes);
	enum drop drop;

	must(copy != NULL, "there is memory");
	memcpy(copy, from, bytes);
	drop = segment_parse(copy, &packet, is_checked, segment);
	free(copy);
	return drop;
}

/* A header around the input's options; its bytes, with the payload's. */
static size_t write_by_hand(uint8_t *to, struct input *input)
{
	uint8_t flags = input_8(input);
	size_t payload = input_8(input) % PAYLOAD_MAX, options, header;
	const uint8_t *from = input_bytes(input, OPTIONS_MAX, &options);

	header = SEGMENT_HEADER_BYTES + (options + 3) / 4 * 4;
	for (uint8_t i = 0; i < DATA_OFFSET_AT; i++)
		to[i] = (uint8_t)(i * 37 + flags);
	to[DATA_OFFSET_AT] = (uint8_t)(header / 4 << 4);
	to[FLAGS_AT] = flags;
	memcpy(to + SEGMENT_HEADER_BYTES, from, options);
	return header + payload;
}

/* What can be read need not fit when it is written, since each option is padded then: blocks of SACK are left out. */
static void make_fit(struct segment *segment)
{
	while (segment->sack_count && segment_header_bytes(segment) > SEGMENT_HEADER_BYTES_MAX)
		segment->sack_count--;
}

static void compare(const struct segment *one, const struct segment *other)
{
	must(one->source_port == other->source_port && one->destination_port == other->destination_port, "ports survive");
	must(one->sequence == other->sequence && one->acknowledgement == other->acknowledgement, "numbers survive");
	must(one->window == other->window && one->urgent == other->urgent && one->flags == other->flags,
	     "window, mark and flags survive");
	must(one->payload_bytes == other->payload_bytes, "the payload is as long as before");
	must(one->maximum_segment_bytes == other->maximum_segment_bytes && one->may_sack == other->may_sack,
	     "MSS and SACK survive");
	must(one->has_window_scale == other->has_window_scale && one->window_scale == other->window_scale,
	     "the scale survives");
	must(one->has_timestamp == other->has_timestamp && one->timestamp == other->timestamp &&
	         one->timestamp_echo == other->timestamp_echo,
	     "timestamps survive");
	must(one->sack_count == other->sack_count, "as many blocks of SACK as before");
	must(!memcmp(one->sacks, other->sacks, one->sack_count * sizeof(one->sacks[0])), "blocks of SACK survive");
}

static void write_again(struct segment *segment)
{
	size_t header = segment_header_bytes(segment), bytes = header + segment->payload_bytes;
	uint8_t *built = malloc(bytes);
	struct packet packet = packet_of(bytes);
	struct segment again;

	must(built != NULL, "there is memory");
	must(header % 4 == 0 && header <= SEGMENT_HEADER_BYTES_MAX, "a header that can be written");
	memset(built, 0x5a, bytes);
	must(segment_build(built, &packet, segment) == header, "the header is as long as was foretold");
	must(parse(built, bytes, 0, &again) == DROP_none, "what was written can be read");
	compare(segment, &again);
	free(built);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t by_hand[SEGMENT_HEADER_BYTES_MAX + PAYLOAD_MAX] = {0};
	struct input input = {data, data + bytes};
	size_t written = write_by_hand(by_hand, &input);
	struct segment segment;

	must(parse(by_hand, written, 1, &segment) == DROP_none, "options that are not sound do not make the segment so");
	make_fit(&segment);
	write_again(&segment);
	return 0;
}
