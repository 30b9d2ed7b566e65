/* A program's calls. A slot holds a socket or none: what a call says of none is tried too. */
#include <string.h>
#include <sys/socket.h>

#include "steps.h"
#include "tcp/tcp.h"

enum {
	BACKLOGS = 5,
	INTERFACES = 3,
	OPTIONS = 44 /* numbers of engine/options.def, and some that are not there */
};

static const uint8_t protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_TCP, PROTOCOL_ICMP};
static uint8_t area[WORLD_BYTES_MAX]; /* what is used of it lies at its end, so that a byte too far is seen */

static uint32_t slot_of(struct input *input)
{
	return input_8(input) % WORLD_SOCKETS;
}

static uint32_t socket_of(const struct world *world, struct input *input)
{
	return world->sockets[slot_of(input)];
}

static int is_stream(const struct world *world, uint32_t socket)
{
	return tcp_at(world->stack, socket)->end.kind == ENDPOINT_STREAM;
}

static void fill_slot(struct world *world, uint32_t slot, int socket)
{
	if (socket <= 0)
		return;
	world_close(world, slot);
	world->sockets[slot] = (uint32_t)socket;
}

/* -- opening and closing -------------------------------------------------------------------------------------------------- */

void step_open(struct world *world, struct input *input)
{
	uint32_t slot = slot_of(input);

	fill_slot(world, slot, byway_socket_open(world->stack, protocols[input_8(input) % sizeof(protocols)]));
}

void step_bind(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);
	const struct address *address = world_address(input_8(input));

	byway_socket_bind(world->stack, socket, address, world_port(input_8(input)));
}

void step_listen(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);

	byway_tcp_listen(world->stack, socket, input_8(input) % BACKLOGS);
}

void step_connect(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);
	const struct address *address = world_address(input_8(input));
	uint32_t port = world_port(input_8(input));

	if (is_stream(world, socket))
		byway_tcp_connect(world->stack, socket, address, port, world->now_ns);
	else
		byway_udp_connect(world->stack, socket, address, port);
}

void step_accept(struct world *world, struct input *input)
{
	uint32_t listener = socket_of(world, input), slot = slot_of(input);

	fill_slot(world, slot, byway_tcp_accept(world->stack, listener));
}

void step_shutdown(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);

	byway_tcp_shutdown(world->stack, socket, input_8(input) % 4, world->now_ns);
}

void step_close(struct world *world, struct input *input)
{
	world_close(world, slot_of(input));
}

void step_abort(struct world *world, struct input *input)
{
	byway_tcp_abort(world->stack, socket_of(world, input), world->now_ns);
}

/* -- bytes ---------------------------------------------------------------------------------------------------------------- */

static int flags_of(struct input *input)
{
	uint8_t bits = input_8(input);

	return (bits & 1 ? MSG_PEEK : 0) | (bits & 2 ? MSG_OOB : 0) | (bits & 4 ? MSG_TRUNC : 0) |
	       (bits & 8 ? MSG_MORE : 0);
}

static void send_stream(struct world *world, uint32_t socket, uint32_t bytes, int flags)
{
	uint8_t *from = area + sizeof(area) - bytes;
	int64_t sent;

	memcpy(from, world_stream(tcp_send_end(tcp_at(world->stack, socket))), bytes);
	sent = byway_tcp_send(world->stack, socket, from, bytes, flags, world->now_ns);
	must(sent <= (int64_t)bytes, "no more is sent than was asked for");
}

static void send_datagram(struct world *world, uint32_t socket, uint32_t bytes, const struct address *to, uint32_t port)
{
	int sent = byway_udp_send(world->stack, socket, area + sizeof(area) - bytes, bytes, to, port);

	must(sent <= 0 || sent == (int)bytes, "a datagram is sent whole");
}

void step_send(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input), bytes = world_size(input_8(input));
	int flags = flags_of(input);

	if (is_stream(world, socket))
		send_stream(world, socket, bytes, flags);
	else
		send_datagram(world, socket, bytes, NULL, 0);
}

void step_send_to(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input), bytes = world_size(input_8(input));
	const struct address *to = world_address(input_8(input));

	send_datagram(world, socket, bytes, to, world_port(input_8(input)));
}

/* What was read are the bytes of their sequence numbers: of the urgent one, or of those that end where the socket stands now. */
static void judge_stream(const struct world *world, const struct tcp *tcp, const uint8_t *from, uint32_t bytes,
                         int flags)
{
	uint32_t sequence = tcp->irs + 1 + tcp->received_bytes.read;

	if (flags & MSG_OOB)
		sequence = tcp->rcv_up - 1;
	else if (!(flags & MSG_PEEK))
		sequence -= bytes;
	if (!world->is_tainted)
		must(!memcmp(from, world_stream(sequence), bytes), "what is read is what was sent");
}

static void receive_stream(struct world *world, uint32_t socket, uint32_t bytes, int flags)
{
	uint8_t *to = area + sizeof(area) - bytes;
	int64_t got = byway_tcp_receive(world->stack, socket, to, bytes, flags, world->now_ns);

	must(got <= (int64_t)bytes, "no more is read than was asked for");
	if (got > 0 && (!(flags & MSG_TRUNC) || flags & (MSG_OOB | MSG_PEEK)))
		judge_stream(world, tcp_at(world->stack, socket), to, (uint32_t)got, flags);
}

static void receive_datagram(struct world *world, uint32_t socket, uint32_t bytes, int flags)
{
	struct udp_arrival arrival;
	uint8_t *to = area + sizeof(area) - bytes;
	int got = byway_udp_receive(world->stack, socket, to, bytes, flags, &arrival);

	must(got <= (int)bytes, "no more is read than was asked for");
	if (got > 0 && !world->is_tainted)
		must((uint32_t)got <= arrival.bytes && arrival.bytes <= CELL_BYTES, "as much is read as there was");
}

void step_receive(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input), bytes = world_size(input_8(input));
	int flags = flags_of(input);

	if (is_stream(world, socket))
		receive_stream(world, socket, bytes, flags);
	else
		receive_datagram(world, socket, bytes, flags);
}

/* -- the rest ------------------------------------------------------------------------------------------------------------- */

void step_set(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input), option = input_8(input) % OPTIONS;

	byway_socket_set(world->stack, socket, option, (int32_t)input_32(input), world->now_ns);
}

void step_look(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);
	struct byway_tcp_info info;
	struct address address;

	byway_socket_ready(world->stack, socket);
	byway_socket_take_error(world->stack, socket);
	byway_socket_address(world->stack, socket, 0, &address);
	byway_socket_address(world->stack, socket, 1, &address);
	byway_tcp_at_mark(world->stack, socket);
	byway_tcp_info(world->stack, socket, &info);
	byway_socket_get(world->stack, socket, input_8(input) % OPTIONS);
}

void step_join(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);
	const struct address *group = world_address(input_8(input));

	byway_udp_join(world->stack, socket, group, input_8(input) % INTERFACES);
}

void step_leave(struct world *world, struct input *input)
{
	uint32_t socket = socket_of(world, input);
	const struct address *group = world_address(input_8(input));

	byway_udp_leave(world->stack, socket, group, input_8(input) % INTERFACES);
}
