/* The whole stack. An input is a choice of settings and of an end, the number of a beginning, and then steps, which steps.def lists: packets that
 * come, calls of a program, time that passes, packets that are taken. At the end everything must have been given back. */
#include "steps.h"

#define NS_PER_MS 1000000ull

enum {
	POWERS = 32,
	ENDS_BY_CLOSE = 7 << 3 /* where these bits are 0: closed, and given time; else reset, which takes none */
};

static step *const steps[] = {
#define STEP(name, text) step_##name,
#include "steps.def"
#undef STEP
};

enum {
#define STEP(name, text) DO_##name,
#include "steps.def"
#undef STEP
	STEPS
};

/* -- time, packets that leave, memory ------------------------------------------------------------------------------------- */

static void pass_time(struct world *world, uint64_t ms)
{
	world->now_ns += ms * NS_PER_MS;
	byway_stack_run_timers(world->stack, world->now_ns);
}

void step_wait(struct world *world, struct input *input)
{
	pass_time(world, input_8(input));
}

void step_wait_long(struct world *world, struct input *input)
{
	pass_time(world, 1ull << input_8(input) % POWERS);
}

void step_transmit(struct world *world, struct input *input)
{
	output_take(world, input_8(input), 0);
}

void step_loop(struct world *world, struct input *input)
{
	output_take(world, input_8(input), 1);
}

void step_hoard(struct world *world, struct input *input)
{
	world_hoard(world, input_8(input) % WORLD_CELLS);
}

/* -- beginnings ----------------------------------------------------------------------------------------------------------- */

/* Steps that come before those of the input: so most inputs, however they were made, meet a connection. */
enum {
	SYN = SEGMENT_SYN,
	SYN_ACK = SEGMENT_SYN | SEGMENT_ACK,
	ACK = SEGMENT_ACK,
	OPTIONS_OF_SYN = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5, /* timestamp, MSS, scale, SACK: see peer.c */
	HAS_OPTIONS = 1 << 7,
	ACKS_OLD = 1 << 2 /* nothing new */
};
#define BEGIN_CONNECTION(local, remote) DO_open, 0, 0, DO_bind, 0, local, 0, DO_connect, 0, remote, 0
#define SYN_OPTIONS OPTIONS_OF_SYN, 9, 0xb4, 5 /* with what they say */
#define SYN_FROM(port) DO_stranger, 0, 0, 1, port, SYN, 1, 2, 3, 4, SYN_OPTIONS, 0, 0
#define LISTEN(local) DO_open, 0, 0, DO_bind, 0, local, 0, DO_listen, 0, 2
#define ACK_OF(connection) DO_segment, connection, ACK, 0, 0
#define ANSWER DO_segment, 0, SYN_ACK, HAS_OPTIONS, SYN_OPTIONS, 7, 0, DO_transmit, 0
#define ANSWER_PLAINLY DO_segment, 0, SYN_ACK, 0, 0, DO_transmit, 0
#define DUPLICATE_ACK DO_segment, 0, ACK, ACKS_OLD, 0
#define SET(option, value) DO_set, 0, option, value, 0, 0, 0

/* clang-format off */
static const uint8_t nothing[1];
static const uint8_t active[] = {BEGIN_CONNECTION(0, 1), ANSWER};
static const uint8_t passive[] = {LISTEN(4), SYN_FROM(0), ACK_OF(1), DO_accept, 0, 1, DO_transmit, 0};
static const uint8_t both[] = {
	LISTEN(0),
	DO_open, 1, 0, DO_bind, 1, 0, 1, DO_connect, 1, 0, 0,
	DO_loop, 0, DO_accept, 0, 2,
};
static const uint8_t active_plain[] = {BEGIN_CONNECTION(2, 3), ANSWER_PLAINLY};
static const uint8_t datagrams[] = {
	DO_open, 0, 1, DO_bind, 0, 0, 0,
	DO_open, 1, 1, DO_bind, 1, 4, 1, DO_join, 1, 8, 0,
	DO_connect, 0, 1, 0,
};
static const uint8_t waiting[] = {LISTEN(0), SYN_FROM(0), SYN_FROM(1), ACK_OF(2), ACK_OF(3), SYN_FROM(2)};
static const uint8_t active_short[] = {BEGIN_CONNECTION(0, 1), ANSWER, DO_hoard, 58};
static const uint8_t losing[] = {
	BEGIN_CONNECTION(0, 1), ANSWER_PLAINLY, DO_send, 0, 255, 0, DO_send, 0, 255, 0, DO_transmit, 0,
	DUPLICATE_ACK, DUPLICATE_ACK, DUPLICATE_ACK,
};
static const uint8_t connecting[] = {BEGIN_CONNECTION(0, 1)};
static const uint8_t opening_together[] = {BEGIN_CONNECTION(0, 1), DO_segment, 0, SYN, 0, 0};
static const uint8_t watched[] = { /* keepalive, its times, how many probes */
	BEGIN_CONNECTION(0, 1), SET(12, 1), SET(13, 100), SET(14, 100), SET(15, 2), ANSWER,
};
/* clang-format on */

#define BEGINNING(name) {name, sizeof(name)}
static const struct {
	const uint8_t *steps;
	size_t bytes;
} beginnings[] = {
	{nothing, 0},       BEGINNING(active),       BEGINNING(passive),
	BEGINNING(both),    BEGINNING(active_plain), BEGINNING(datagrams),
	BEGINNING(waiting), BEGINNING(connecting),   BEGINNING(opening_together),
	BEGINNING(watched), BEGINNING(active_short), BEGINNING(losing),
};
enum {
	BEGINNINGS = sizeof(beginnings) / sizeof(beginnings[0])
};

static void take_steps(struct world *world, struct input *input)
{
	while (input_left(input))
		steps[input_8(input) % STEPS](world, input);
}

static void begin(struct world *world, size_t number)
{
	struct input input = {beginnings[number].steps, beginnings[number].steps + beginnings[number].bytes};

	take_steps(world, &input);
}

static struct image *images[WORLD_VARIANTS][BEGINNINGS];

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
	struct world world;

	(void)count;
	(void)arguments;
	world_make();
	for (uint32_t variant = 0; variant < WORLD_VARIANTS; variant++)
		for (size_t number = 0; number < BEGINNINGS; number++) {
			world_lay_out(&world, variant);
			begin(&world, number);
			images[variant][number] = world_keep(&world);
			world_end(&world);
		}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input input = {data, data + bytes};
	uint8_t variant = input_8(&input), beginning = input_8(&input);
	struct world world;

	world_begin(&world, images[variant % WORLD_VARIANTS][beginning % BEGINNINGS]);
	world.ends_by_abort = (variant & ENDS_BY_CLOSE) != 0;
	take_steps(&world, &input);
	world_end(&world);
	return 0;
}
