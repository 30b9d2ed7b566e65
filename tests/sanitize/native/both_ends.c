/* Both ends of a connection as threads of one process, over one mapping: ThreadSanitizer then sees what two processes do to
 * the memory that they share. Linked with the objects of the core (no interposition) and copy_visible.c.
 *
 * What a process does when it attaches (sock/attach.c, local/meet.c) is done here by hand, since the usual way maps the
 * memory twice. Below lies a real loopback connection. Started by the tests beside it: `both_ends SEED ROUNDS`; each round
 * is one of `scenarios`, names of which may follow. A wrong byte, a hang or a data race ends it with a status that is not
 * 0. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/options.h"
#include "position.h"
#include "sock/option.h"
#include "sock/relay.h"
#include "wait/block.h"
#include "wait/epoll.h"
#include "wait/poll.h"
#include "wait/sleep.h"

#define THREADS_MAX 4
#define CHUNK_MAX 20000
#define WAIT_S 60
#define HAND_BACKS_MAX 100 /* it need not come about: the sender may have ended */
#define SMALL_BUFFER 8192
#define LATE_NS_MAX 150000
#define RESENT_US 3000
#define LATE_WAITS_MAX 50
#define ROUNDS_MAX 30 /* each scenario uses up two pairs, of PAIRS_MAX */

enum reading {
	BLOCKING,
	POLLING,
	EPOLLING
};

enum leaving {
	STAYS,
	HANDED_BACK, /* both directions are given back to the kernel in the middle */
	HANDED_BACK_LATE, /* … while the other end ends its direction, before anybody reads */
	RESENT, /* both ends ask for their unread bytes by the kernel, whose buffers do not hold them, when one read is done */
	RELAYED /* both ends go on through relays. Not under ThreadSanitizer, whose memory a relay's process gives up */
};

#ifdef __SANITIZE_THREAD__
#define HAS_RELAYS 0
#else
#define HAS_RELAYS 1
#endif

struct scenario {
	const char *name;
	int writers, readers; /* of each direction; with one of each the bytes are position-coded */
	enum reading reading;
	int spin_us, bells, ring_bytes;
	int disturbed; /* a thread at each end that peeks, polls, asks, revokes and allows */
	int slow; /* readers rest now and then: the ring overflows */
	int half_closes; /* end 1 ends its direction early, and reads on */
	enum leaving leaving;
	uint64_t bytes; /* of each direction */
};

static const struct scenario scenarios[] = {
	{"plain", 1, 1, BLOCKING, 50, 8, 65536, 0, 0, 0, 0, 1 << 20},
	{"sleep", 1, 1, BLOCKING, 0, 8, 65536, 0, 0, 0, 0, 1 << 20},
	{"overflow", 1, 1, BLOCKING, 0, 8, 4096, 0, 1, 0, 0, 1 << 20},
	{"disturbed", 1, 1, BLOCKING, 0, 8, 4096, 1, 1, 0, 0, 1 << 20},
	{"many", 3, 3, BLOCKING, 20, 8, 16384, 1, 0, 0, 0, 1 << 20},
	{"many, one bell", 3, 3, BLOCKING, 0, 1, 4096, 1, 1, 0, 0, 1 << 20},
	{"poll", 1, 1, POLLING, 20, 8, 16384, 1, 0, 0, 0, 1 << 20},
	{"poll, many", 2, 3, POLLING, 0, 1, 4096, 1, 1, 0, 0, 1 << 19},
	{"epoll", 1, 1, EPOLLING, 20, 8, 16384, 1, 0, 0, 0, 1 << 20},
	{"epoll, many", 2, 3, EPOLLING, 0, 8, 4096, 1, 1, 0, 0, 1 << 19},
	{"half-close", 1, 1, BLOCKING, 0, 8, 65536, 0, 1, 1, 0, 1 << 20},
	{"half-close, many", 3, 3, BLOCKING, 20, 8, 4096, 1, 1, 1, 0, 1 << 19},
	{"leave", 1, 1, BLOCKING, 20, 8, 65536, 0, 1, 0, HANDED_BACK, 1 << 20},
	{"leave, many", 2, 2, POLLING, 0, 2, 16384, 1, 1, 0, HANDED_BACK, 1 << 19},
	{"leave late", 1, 1, BLOCKING, 0, 8, 65536, 0, 0, 0, HANDED_BACK_LATE, 460000},
	{"resend", 1, 1, BLOCKING, 0, 8, 1 << 20, 1, 0, 0, RESENT, 900000},
	{"relay", 1, 1, BLOCKING, 20, 8, 65536, 0, 1, 0, RELAYED, 1 << 20},
	{"relay, sleep", 1, 1, BLOCKING, 0, 8, 4096, 0, 0, 0, RELAYED, 1 << 20},
	{"relay, epoll", 1, 1, EPOLLING, 20, 8, 16384, 0, 1, 0, RELAYED, 1 << 20},
	{"relay, half-close", 1, 1, BLOCKING, 20, 8, 65536, 0, 1, 1, RELAYED, 1 << 20},
	{"relay, many", 3, 3, POLLING, 0, 2, 16384, 1, 1, 0, RELAYED, 1 << 19},
};

/* The direction is full before it is read on. */
static int reads_late(const struct scenario *scenario)
{
	return scenario->leaving == HANDED_BACK_LATE || scenario->leaving == RESENT;
}

struct side {
	const struct scenario *scenario;
	struct sock *sock;
	int fd, set;
	uint64_t stream; /* what we send */
	uint64_t bytes; /* how much of it */
	struct side *other;
	/* by atomics */
	uint64_t to_send; /* not yet claimed by a writer */
	uint32_t writers_left;
	uint32_t readers_left;
	uint32_t has_left; /* its leaver is done */
	uint64_t sent_sum, received_sum, received;
};

static uint64_t seed;
static pthread_barrier_t all_are_here;

static void fail(const struct side *side, const char *what, long value)
{
	fprintf(stderr, "%s, seed %llu: %s (%ld)\n", side->scenario->name, (unsigned long long)seed, what, value);
	_exit(2);
}

/* The next number of a thread; threads differ by where they live. */
static uint64_t draw(uint64_t *state, uint64_t below)
{
	*state += 0x9e3779b97f4a7c15u;
	return position_word(*state, 1) % below;
}

static struct cursor cursor_of(struct iovec *piece, void *bytes, size_t count)
{
	*piece = (struct iovec){bytes, count};
	return (struct cursor){.pieces = piece, .count = 1, .left = count};
}

static uint64_t sum(const uint8_t *bytes, size_t count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += bytes[i];
	return total;
}

/* -- threads -------------------------------------------------------------------------------------------------------------- */

static void send_all(struct side *side, const uint8_t *bytes, size_t count)
{
	struct iovec piece;
	struct cursor from = cursor_of(&piece, (void *)(uintptr_t)bytes, count);

	while (from.left) {
		long sent = block_send(side->sock, side->fd, &from, 0);

		if (sent <= 0)
			fail(side, "a send failed", sent);
	}
}

static void await_leaver(const struct side *side)
{
	while (!load_acquire(&side->has_left))
		usleep(100);
}

/* Awake: what two threads then do falls together to a microsecond. */
static void pause_for(uint64_t ns)
{
	uint64_t until = clock_now_ns() + ns;

	while (clock_now_ns() < until)
		;
}

static void half_close(struct side *side, uint64_t random)
{
	if (side->scenario->leaving == RESENT) /* who has ended its direction takes nothing back */
		await_leaver(side->other);
	if (side->scenario->leaving == HANDED_BACK_LATE)
		pause_for(draw(&random, LATE_NS_MAX));
	local_shutdown(&side->sock->end, side->fd, SHUT_WR);
}

static void *writer(void *argument)
{
	struct side *side = argument;
	uint64_t random = seed ^ (uintptr_t)pthread_self();
	uint8_t buffer[CHUNK_MAX + 16];

	pthread_barrier_wait(&all_are_here);
	for (;;) {
		uint64_t left = load_relaxed(&side->to_send);
		uint64_t count = draw(&random, 4) ? 1 + draw(&random, 200) : 1 + draw(&random, CHUNK_MAX);
		const uint8_t *from;

		if (!left)
			break;
		if (count > left)
			count = left;
		if (!compare_swap(&side->to_send, &left, left - count))
			continue;
		from = position_fill(buffer, side->stream, side->bytes - left, count);
		__atomic_fetch_add(&side->sent_sum, sum(from, count), __ATOMIC_RELAXED);
		send_all(side, from, count);
	}
	if (__atomic_sub_fetch(&side->writers_left, 1, __ATOMIC_RELAXED) == 0)
		half_close(side, random);
	return NULL;
}

static void await(struct side *side)
{
	struct pollfd one = {.fd = side->fd, .events = POLLIN};
	struct epoll_event event;
	uint64_t deadline = sleep_deadline_ms(1000 * WAIT_S);
	long ready = side->scenario->reading == POLLING ? poll_wait(&one, 1, deadline, NULL)
	                                                : epoll_wait_events(side->set, &event, 1, deadline, NULL);

	if (ready != 1)
		fail(side, "a wait failed", ready);
}

static long receive(struct side *side, uint8_t *buffer, size_t room)
{
	struct iovec piece;
	struct cursor to = cursor_of(&piece, buffer, room);

	if (side->scenario->reading == BLOCKING)
		return block_recv(side->sock, side->fd, &to, 0);
	await(side);
	return block_recv(side->sock, side->fd, &to, MSG_DONTWAIT);
}

static void *reader(void *argument)
{
	struct side *side = argument;
	uint64_t random = seed + (uintptr_t)pthread_self();
	uint8_t buffer[CHUNK_MAX];

	pthread_barrier_wait(&all_are_here);
	if (side->scenario->leaving == HANDED_BACK_LATE)
		await_leaver(side);
	for (;;) {
		size_t room = draw(&random, 2) ? 1 + draw(&random, 300) : 1 + draw(&random, CHUNK_MAX);
		long received = receive(side, buffer, room);
		uint64_t at;

		if (received == -EAGAIN)
			continue;
		if (received < 0)
			fail(side, "a receive failed", received);
		if (!received)
			break;
		if (side->scenario->leaving == RESENT) /* the ring's turn has come */
			await_leaver(side);
		at = __atomic_fetch_add(&side->received, (uint64_t)received, __ATOMIC_RELAXED);
		__atomic_fetch_add(&side->received_sum, sum(buffer, (size_t)received), __ATOMIC_RELAXED);
		if (side->scenario->writers == 1 && side->scenario->readers == 1 &&
		    position_mismatch(buffer, side->other->stream, at, (size_t)received) >= 0)
			fail(side, "a wrong byte near", (long)at);
		if (side->scenario->slow && !draw(&random, 16))
			usleep((useconds_t)draw(&random, 2000));
	}
	__atomic_sub_fetch(&side->readers_left, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void peek(struct side *side)
{
	uint8_t buffer[100];
	struct iovec piece;
	struct cursor to = cursor_of(&piece, buffer, sizeof(buffer));
	long peeked = block_recv(side->sock, side->fd, &to, MSG_PEEK | MSG_DONTWAIT);

	if (peeked < 0 && peeked != -EAGAIN)
		fail(side, "a peek failed", peeked);
}

static void ask(struct side *side)
{
	struct tcp_info_room {
		uint64_t words[64];
	} info = {{0}};

	option_info_add(side->sock, &info, sizeof(info));
	local_sends_by_ring(&side->sock->end);
	local_readable(&side->sock->end);
	local_service(&side->sock->end, side->fd);
}

static void poll_briefly(struct side *side)
{
	struct pollfd one = {.fd = side->fd, .events = POLLIN | POLLOUT};

	poll_wait(&one, 1, 0, NULL);
	one.events = POLLIN;
	poll_wait(&one, 1, clock_now_ns() + 200000, NULL);
}

static void *disturber(void *argument)
{
	struct side *side = argument;
	uint64_t random = seed * 3 + (uintptr_t)pthread_self();

	while (__atomic_load_n(&side->readers_left, __ATOMIC_RELAXED)) {
		switch (draw(&random, side->scenario->leaving == RESENT ? 2 : 4)) {
		case 0:
			peek(side);
			break;
		case 1:
			ask(side);
			break;
		case 2:
			poll_briefly(side);
			break;
		default:
			local_kernel_sleep_begins(&side->sock->end);
			usleep((useconds_t)draw(&random, 100));
			local_kernel_sleep_ends(&side->sock->end);
		}
		usleep((useconds_t)draw(&random, 300));
	}
	return NULL;
}

static void hand_back(struct side *side)
{
	for (int tries = 0; tries < HAND_BACKS_MAX; tries++)
		if (sock_hand_back(side->sock, side->fd, reason_splice))
			break;
}

/* At once or not at all: the other end may have ended its direction before. */
static void hand_back_at_once(struct side *side)
{
	sock_never(side->sock, side->fd, reason_splice);
	local_hand_back(&side->sock->end, side->fd);
}

/* The other end's disturber does it, ours peeks. */
static void have_resent(struct side *side)
{
	local_request_resend(&side->sock->end);
	usleep(RESENT_US);
}

/* As sock_into_kernel does it where nothing else is possible. */
static void relay(struct side *side)
{
	int error;

	sock_never(side->sock, side->fd, reason_splice);
	if (sock_hooks.kernel_gets)
		sock_hooks.kernel_gets(side->sock);
	error = relay_make(side->sock, side->fd);
	if (error)
		fail(side, "no relay", error);
	if (sock_hooks.kernel_has)
		sock_hooks.kernel_has(sock_of(side->fd));
}

/* Where nobody reads, not all may have room. */
static int is_time_to_leave(const struct side *side, int waits)
{
	if (reads_late(side->scenario))
		return !load_relaxed(&side->other->to_send) || waits == LATE_WAITS_MAX;
	return __atomic_load_n(&side->received, __ATOMIC_RELAXED) >= side->other->bytes / 2;
}

static void *leaver(void *argument)
{
	struct side *side = argument;

	for (int waits = 0; !is_time_to_leave(side, waits); waits++)
		usleep(100);
	if (side->scenario->leaving == RELAYED)
		relay(side);
	else if (side->scenario->leaving == RESENT)
		have_resent(side);
	else if (side->scenario->leaving == HANDED_BACK_LATE)
		hand_back_at_once(side);
	else
		hand_back(side);
	store_release(&side->has_left, 1);
	return NULL;
}

/* -- attaching by hand ---------------------------------------------------------------------------------------------------- */

static void connect_tcp(struct side *sides)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&address, bytes) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &bytes))
		fail(sides, "no listener", errno);
	sides[0].fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(sides[0].fd, (struct sockaddr *)&address, bytes))
		fail(sides, "no connection", errno);
	sides[1].fd = accept(listener, NULL, NULL);
	close(listener);
}

static void bells_give(struct pair *from, struct pair *to)
{
	int bells[SHM_BELLS_MAX];

	for (uint32_t k = 0; k < from->bells_count; k++)
		bells[k] = dup(from->bells[k]);
	pair_confirm(to, bells, from->bells_count);
}

/* Two entries for one pair, of which the second uses the first one's mapping. */
static void pairs_make(struct pair **both)
{
	int error = 0;

	both[0] = pair_make(getpid(), &error);
	both[1] = both[0] ? pair_join(getpid(), dup(both[0]->regions[0].fd), both[0]->id, &error) : NULL;
	if (!both[1]) {
		fprintf(stderr, "no pair: %s\n", strerror(-error));
		exit(2);
	}
	both[1]->regions[0].map = both[0]->regions[0].map;
	both[1]->shared = both[0]->shared;
	bells_give(both[0], both[1]);
	bells_give(both[1], both[0]);
}

static void end_fill(struct side *side, struct pair *pair, uint32_t channel)
{
	struct local_end *end = &side->sock->end;
	uint8_t *rings;

	end->pair = pair;
	end->shared = pair_channel(pair, channel, &rings);
	end->channel = channel;
	end->ring_bytes = pair->ring_bytes;
	end->tx = &end->shared->direction[pair->end];
	end->rx = &end->shared->direction[1 - pair->end];
	end->tx_ring = rings + pair->end * pair->ring_bytes;
	end->rx_ring = rings + (1 - pair->end) * pair->ring_bytes;
	end->shared->ends[pair->end] = SHM_END_OPEN;
	pair->sockets[channel] = sock_index(side->sock) + 1;
	pair_reference(pair);
}

static void engine(struct side *side)
{
	sock_is_nonblocking(side->sock, side->fd);
	if (!sock_engine_set(side->sock))
		fail(side, "no engine", 0);
	side->sock->stage = STAGE_OVER;
	side->sock->shared->state = SHM_SOCKET_ATTACHED;
	if (side->scenario->reading == EPOLLING) {
		struct epoll_event event = {.events = EPOLLIN};

		side->set = epoll_create1(0);
		epoll_set_new(side->set);
		if (epoll_control(side->set, EPOLL_CTL_ADD, side->fd, &event))
			fail(side, "no epoll item", 0);
	}
	if (sock_hooks.engine_begins(side->sock, side->fd))
		fail(side, "the engine does not begin", 0);
	side->sock->end.tx->sender_descriptor = (uint32_t)side->fd;
}

static void attach(struct side *sides)
{
	uint64_t cookies[2];
	struct pair *pairs_of_both[2];
	uint32_t channel;

	pairs_make(pairs_of_both);
	for (int i = 0; i < 2; i++) {
		cookies[i] = diag_cookie(sides[i].fd);
		sides[i].sock = sock_new(sides[i].fd, i ? SOCK_PASSIVE : SOCK_ACTIVE);
		sides[i].sock->shared->cookie = cookies[i];
	}
	channel = pair_channel_new(pairs_of_both[0], cookies);
	for (int i = 0; i < 2; i++)
		end_fill(&sides[i], pairs_of_both[i], channel);
	for (int i = 0; i < 2; i++)
		engine(&sides[i]);
	for (int i = 0; i < 2; i++)
		local_rx_allow(&sides[i].sock->end);
}

static void leave(struct side *side)
{
	int last;

	if (side->scenario->reading == EPOLLING) {
		epoll_set_close(descriptor_index(descriptor_entry(side->set)));
		close(side->set);
	}
	last = sock_close_begin(side->sock, side->fd);
	close(side->fd);
	if (last)
		sock_closed(side->sock);
}

/* -- a round -------------------------------------------------------------------------------------------------------------- */

static void side_begin(struct side *side, const struct scenario *scenario, struct side *other, uint64_t bytes)
{
	memset(side, 0, sizeof(*side));
	side->scenario = scenario;
	side->other = other;
	side->stream = seed * 2 + (uint64_t)(side > other);
	side->bytes = side->to_send = bytes;
	side->writers_left = (uint32_t)scenario->writers;
	side->readers_left = (uint32_t)scenario->readers;
}

static void make_buffers_small(struct side *sides)
{
	int bytes = SMALL_BUFFER;

	for (int i = 0; i < 2; i++)
		if (setsockopt(sides[i].fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)))
			fail(&sides[i], "no small buffer", errno);
}

static int start(struct side *side, pthread_t *threads)
{
	const struct scenario *scenario = side->scenario;
	int count = 0;

	for (int i = 0; i < scenario->readers; i++)
		pthread_create(&threads[count++], NULL, reader, side);
	for (int i = 0; i < scenario->writers; i++)
		pthread_create(&threads[count++], NULL, writer, side);
	if (scenario->disturbed)
		pthread_create(&threads[count++], NULL, disturber, side);
	if (scenario->leaving != STAYS)
		pthread_create(&threads[count++], NULL, leaver, side);
	return count;
}

static void run(const struct scenario *scenario)
{
	struct side sides[2];
	pthread_t threads[2][2 * THREADS_MAX];
	int counts[2];

	options.spin_us = scenario->spin_us;
	options.bells = scenario->bells;
	options.ring_bytes = scenario->ring_bytes;
	side_begin(&sides[0], scenario, &sides[1], scenario->bytes);
	side_begin(&sides[1], scenario, &sides[0], scenario->half_closes ? scenario->bytes / 16 : scenario->bytes);
	connect_tcp(sides);
	if (scenario->leaving == RESENT)
		make_buffers_small(sides);
	attach(sides);
	pthread_barrier_init(&all_are_here, NULL, 2 * (unsigned)(scenario->readers + scenario->writers));
	for (int i = 0; i < 2; i++)
		counts[i] = start(&sides[i], threads[i]);
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < counts[i]; k++)
			pthread_join(threads[i][k], NULL);
	pthread_barrier_destroy(&all_are_here);
	for (int i = 0; i < 2; i++) {
		if (sides[i].received != sides[1 - i].bytes)
			fail(&sides[i], "bytes are missing", (long)(sides[1 - i].bytes - sides[i].received));
		if (sides[i].received_sum != sides[1 - i].sent_sum)
			fail(&sides[i], "the sum is wrong", 0);
	}
	/* The first end to have sent everything has the other one stay with the kernel: one of them is enough. */
	if (!scenario->half_closes && scenario->leaving == STAYS && !sides[0].sock->shared->moves_to_ring &&
	    !sides[1].sock->shared->moves_to_ring)
		fail(sides, "nothing went by the ring", 0);
	printf("%s: moves to the ring %llu and %llu\n", scenario->name,
	       (unsigned long long)sides[0].sock->shared->moves_to_ring,
	       (unsigned long long)sides[1].sock->shared->moves_to_ring);
	leave(&sides[0]);
	leave(&sides[1]);
}

static int is_wanted(const char *name, char **names)
{
	if (!*names)
		return 1;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return 1;
	return 0;
}

int main(int count, char **arguments)
{
	int rounds = count > 2 ? atoi(arguments[2]) : 0;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: both_ends SEED ROUNDS [SCENARIO]..., at most %d rounds\n", ROUNDS_MAX);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	clock_start();
	options_start();
	crash_start();
	epoll_start();
	if (sock_start() || arena_start())
		return 2;
	for (int round = 0; round < rounds; round++) {
		seed = strtoull(arguments[1], NULL, 10) + (uint64_t)round;
		for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
			alarm(WAIT_S);
			if ((HAS_RELAYS || scenarios[i].leaving != RELAYED) && is_wanted(scenarios[i].name, arguments + 3))
				run(&scenarios[i]);
		}
	}
	return 0;
}
