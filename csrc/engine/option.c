/* Options of sockets, by the table engine/options.def, and what follows when one changes. */
#include <errno.h>

#include "engine/engine.h"
#include "engine/holding.h"
#include "tcp/congestion.h"
#include "tcp/rules.h"

enum owner {
	OWNER_endpoint,
	OWNER_tcp,
	OWNER_udp
};

struct option {
	uint32_t number;
	enum owner owner;
	uint32_t offset;
	uint32_t bytes;
	int64_t least;
	int64_t most;
};

static const struct option options[] = {
#define OPTION(number, name, owner, field, least, most) \
	{number, OWNER_##owner, offsetof(struct owner, field), sizeof(((struct owner *)0)->field), least, most},
#include "engine/options.def"
#undef OPTION
};

static const struct option *find(uint32_t number)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].number == number)
			return &options[i];
	return NULL;
}

/* The option's place in the socket; NULL: this kind of socket has none such. */
static void *place(const struct stack *stack, uint32_t socket, const struct option *option)
{
	uint8_t *slot = endpoint_slot(stack, socket);
	int is_stream = holding_stream(stack, socket) != NULL, is_datagram = holding_datagram(stack, socket) != NULL;

	if (!option || !(is_stream || is_datagram) || (option->owner == OWNER_tcp && !is_stream) ||
	    (option->owner == OWNER_udp && !is_datagram))
		return NULL;
	return slot + option->offset;
}

static void store(void *to, uint32_t bytes, int64_t value)
{
	if (bytes == 1)
		*(uint8_t *)to = (uint8_t)value;
	else if (bytes == 2)
		*(uint16_t *)to = (uint16_t)value;
	else
		*(uint32_t *)to = (uint32_t)value;
}

static int64_t load(const void *from, const struct option *option)
{
	if (option->bytes == 1)
		return *(const uint8_t *)from;
	if (option->bytes == 2)
		return *(const uint16_t *)from;
	return option->least < 0 ? *(const int32_t *)from : (int64_t)*(const uint32_t *)from;
}

/* A connection that a change lets go on, or that is to be watched from now on. */
static void apply(struct stack *stack, struct tcp *tcp)
{
	if (!tcp_is_synchronized(tcp))
		return;
	if (tcp->state == STATE_ESTABLISHED || tcp->state == STATE_CLOSE_WAIT)
		idle_keepalive_begin(stack, tcp);
	mtu_fit(tcp);
	output_all(stack, tcp);
}

int byway_socket_set(struct stack *stack, uint32_t socket, uint32_t number, int64_t value, uint64_t now_ns)
{
	const struct option *option = find(number);
	void *at = place(stack, socket, option);

	if (!at)
		return -ENOPROTOOPT;
	if (value < option->least || value > option->most)
		return -EINVAL;
	holding_begin(stack, now_ns);
	store(at, option->bytes, value);
	if (holding_stream(stack, socket))
		apply(stack, tcp_at(stack, socket));
	holding_end(stack);
	return 0;
}

int64_t byway_socket_get(const struct stack *stack, uint32_t socket, uint32_t number)
{
	const struct option *option = find(number);
	const void *at = place(stack, socket, option);

	return at ? load(at, option) : -ENOPROTOOPT;
}
