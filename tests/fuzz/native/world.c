#include "world.h"

#include <string.h>

#include "guard.h"

#define NS_PER_MS 1000000ull
#define BEGIN_NS (1000 * NS_PER_MS)
#define STREAM_PERIOD 65536u /* divides the sequence space */
#define TURNS_MAX 4000 /* of timers, until all has ended */
#define TURNS_PER_STEP 8

enum {
	KINDS = WORLD_VARIANTS / 2 /* each with addresses of its own, and with everybody's */
};

static const struct stack_settings kinds[KINDS] = {
	{.mtu = 576, .time_wait_ms = 1000},
	{.mtu = 1500, .send_bytes = 2048, .receive_bytes = 2048, .time_wait_ms = 60000},
	{.mtu = 1920, .rto_min_ms = 1, .delayed_ack_ms = 1, .time_wait_ms = 1, .initial_window = 2},
	{.mtu = 600, .send_bytes = 4096, .receive_bytes = 1 << 20, .time_wait_ms = 1000, .rto_min_ms = 1000},
};

static struct stack *stack;
static uint64_t stack_size;
static uint8_t stream[STREAM_PERIOD + WORLD_BYTES_MAX];

#define V4(a, b, c, d) \
	{ \
		.bytes = {[10] = 0xff, 0xff, a, b, c, d} \
	}
static const struct address addresses[] = {
	V4(192, 0, 2, 1),
	V4(198, 51, 100, 7),
	{.bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}},
	{.bytes = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 7}},
	V4(0, 0, 0, 0),
	{.bytes = {0}},
	V4(198, 51, 100, 8),
	{.bytes = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 8}},
	V4(224, 0, 0, 251),
	{.bytes = {0xff, 0x02, [15] = 0xfb}},
	V4(255, 255, 255, 255),
	V4(192, 0, 2, 2),
};

const struct address *world_address(uint8_t choice)
{
	return &addresses[choice % (sizeof(addresses) / sizeof(addresses[0]))];
}

uint32_t world_port(uint8_t choice)
{
	if (choice >= 0xfe)
		return choice == 0xff ? 65536 : 0;
	return 1000u + choice % 4;
}

uint32_t world_size(uint8_t choice)
{
	return choice < 128 ? choice : (choice - 127u) * (WORLD_BYTES_MAX / 128);
}

const uint8_t *world_stream(uint32_t sequence)
{
	return stream + sequence % STREAM_PERIOD;
}

uint64_t world_state(const struct world *world, uint32_t number)
{
	uint64_t value = 0;

	must(!byway_stack_state(world->stack, number, &value), "there is such a number");
	return value;
}

/* -- making --------------------------------------------------------------------------------------------------------------- */

static void fill_stream(void)
{
	uint32_t drawn = 1;

	for (uint32_t i = 0; i < STREAM_PERIOD; i++) {
		drawn = drawn * 1664525 + 1013904223;
		stream[i] = (uint8_t)(drawn >> 24);
	}
	memcpy(stream + STREAM_PERIOD, stream, WORLD_BYTES_MAX);
}

static struct stack_settings settings_of(uint32_t variant)
{
	struct stack_settings settings = kinds[variant % KINDS];

	settings.endpoints = WORLD_ENDPOINTS;
	settings.cells = WORLD_CELLS;
	settings.secret = (struct secret){{0x0706050403020100, 0x0f0e0d0c0b0a0908}};
	return settings;
}

void world_make(void)
{
	struct stack_settings settings = settings_of(0);

	stack_size = (uint64_t)byway_stack_bytes(&settings);
	stack = aligned_alloc(64, stack_size);
	must(stack != NULL, "there is memory");
	fill_stream();
}

void world_lay_out(struct world *world, uint32_t variant)
{
	struct stack_settings settings = settings_of(variant);

	guard_suspend(stack, stack_size);
	memset(stack, 0, stack_size);
	must(!byway_stack_make(stack, stack_size, &settings, BEGIN_NS), "a stack can be made");
	guard_begin(stack);
	if (variant >= KINDS) {
		byway_stack_add_address(stack, world_address(0));
		byway_stack_add_address(stack, world_address(2));
	}
	*world = (struct world){.stack = stack, .now_ns = BEGIN_NS};
	world->free_cells = world_state(world, 0);
	world->free_endpoints = world_state(world, 1);
}

/* -- images --------------------------------------------------------------------------------------------------------------- */

struct image {
	struct world world;
	struct guard guard;
	uint8_t *before_cells; /* all that lies before the cells' bytes */
	uint8_t *cells[WORLD_CELLS]; /* NULL: it was free */
};

static uint8_t *copy_of(const void *from, size_t bytes)
{
	uint8_t *copy = malloc(bytes);

	must(copy != NULL, "there is memory");
	return memcpy(copy, from, bytes);
}

struct image *world_keep(const struct world *world)
{
	struct image *image = calloc(1, sizeof(*image));

	must(image != NULL, "there is memory");
	image->world = *world;
	image->guard = *guard_now();
	image->before_cells = copy_of(stack, stack->data_offset);
	for (uint32_t index = 1; index < WORLD_CELLS; index++)
		if (image->guard.is_taken[index])
			image->cells[index] = copy_of(stack_cell_bytes(stack, index), CELL_BYTES);
	return image;
}

void world_begin(struct world *world, const struct image *image)
{
	*world = image->world;
	memcpy(stack, image->before_cells, stack->data_offset);
	guard_resume(&image->guard);
	for (uint32_t index = 1; index < WORLD_CELLS; index++)
		if (image->cells[index])
			memcpy(stack_cell_bytes(stack, index), image->cells[index], CELL_BYTES);
}

/* -- a run ---------------------------------------------------------------------------------------------------------------- */

void world_close(struct world *world, uint32_t slot)
{
	uint32_t socket = world->sockets[slot];

	world->sockets[slot] = 0;
	if (socket)
		byway_socket_close(world->stack, socket, world->now_ns);
}

void world_hoard(struct world *world, uint32_t count)
{
	uint32_t index;

	while (world->hoarded)
		stack_give_back(world->stack, world->hoard[--world->hoarded]);
	while (world->hoarded < count && (index = stack_take_cell(world->stack)) != CELL_NONE)
		world->hoard[world->hoarded++] = index;
}

static void close_all(struct world *world)
{
	for (uint32_t slot = 0; slot < WORLD_SOCKETS; slot++) {
		if (world->ends_by_abort)
			byway_tcp_abort(world->stack, world->sockets[slot], world->now_ns);
		world_close(world, slot);
	}
}

/* Time goes from deadline to deadline, but by more and more at least, so that it does not take long. */
static void let_time_pass(struct world *world)
{
	uint64_t next_ns = 0, step_ns = NS_PER_MS;

	for (int turn = 1; next_ns != STACK_NEVER; turn++) {
		must(turn < TURNS_MAX, "everything ends");
		next_ns = byway_stack_run_timers(world->stack, world->now_ns);
		output_take(world, 0, 0);
		if (turn % TURNS_PER_STEP == 0)
			step_ns *= 2;
		world->now_ns += step_ns;
		if (next_ns != STACK_NEVER && next_ns > world->now_ns)
			world->now_ns = next_ns;
	}
}

void world_end(struct world *world)
{
	world_hoard(world, 0);
	close_all(world);
	let_time_pass(world);
	must(world_state(world, 1) == world->free_endpoints, "every socket is free again");
	must(world_state(world, 0) == world->free_cells, "every cell is free again");
	must(world_state(world, 2) == 0, "no packet is left");
	must(world->stack->counters[STACK_repairs] == 0, "the lock is let go of");
}
