/* Processes that are killed while they have a stack's lock. Called by test_holders.py:
 *
 *   holders SEED KILLS
 *
 * A server's stack is in two processes: the server, which accepts and echoes, and a worker, which only polls. A client with a stack of
 * its own, joined by a link, has CONNECTIONS of them, sends on each and compares what comes back. The worker is run instruction by
 * instruction until it has the lock, and some further, killed there, and started anew, again and again.
 *
 * What must hold: nobody waits for ever; no byte is wrong; a connection ends only because a worker died while it was changing it. Prints
 * kills, repairs (the lock's holder was dead), connections that ended, bytes that were compared, and cells that are missing at the end. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vi/link.h"

enum {
	CONNECTIONS = 8,
	PORT = 80,
	FIRST_CLIENT_PORT = 10000,
	MESSAGE_BYTES_MAX = 4000,
	ENDPOINTS = 256,
	CELLS = 4096
};
#define LIVES_NS_MAX 3000000u /* of a worker, before it is stepped */
#define STEPS_BITS_MAX 14
#define STEPPING_NS_MAX 500000000u /* nobody else goes on meanwhile, and on a busy machine a step takes milliseconds */
#define STUCK_NS 20000000000ull
#define RTO_MS 10 /* what a killed worker had in hand is soon sent again */
#define TIME_WAIT_MS 100

#define NOT_NOW (-11)

/* Of client and server together. */
struct shared {
	uint32_t must_end; /* the client makes no new connections, and closes those that it has */
	uint32_t has_ended;
	uint64_t compared_bytes;
	uint64_t ended; /* connections, other than by us */
};

struct talk {
	uint32_t socket; /* 0: none */
	uint32_t bytes; /* of the message that is on its way; 0: none is */
	uint32_t sent;
	uint32_t come;
	uint64_t seed; /* what the message is made of */
	uint64_t since_ns;
};

static struct shared *shared;
static uint64_t random_state;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void *map(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

static struct stack *make_stack(uint64_t secret)
{
	struct stack_settings settings = {
		.endpoints = ENDPOINTS,
		.cells = CELLS,
		.rto_min_ms = RTO_MS,
		.time_wait_ms = TIME_WAIT_MS,
		.secret = {{secret, 7}},
	};
	uint64_t bytes = (uint64_t)byway_stack_bytes(&settings);
	struct stack *stack = map(bytes);

	if (byway_stack_make(stack, bytes, &settings, now_ns()))
		fail("no stack");
	return stack;
}

static uint64_t free_cells(const struct stack *stack)
{
	uint64_t count = 0;

	byway_stack_state(stack, 0, &count);
	return count;
}

static uint64_t repairs(const struct stack *stack)
{
	uint64_t count = 0;

	byway_stack_state(stack, 100 + STACK_repairs, &count);
	return count;
}

static struct address address_of(uint8_t last)
{
	const uint8_t four[4] = {10, 0, 0, last};

	return address_of_ipv4(four);
}

/* -- the client ----------------------------------------------------------------------------------------------------------- */

static uint8_t byte_at(const struct talk *talk, uint32_t at)
{
	return (uint8_t)(talk->seed >> (at % 7 * 8)) ^ (uint8_t)(at * 31 + (at >> 8));
}

static void open_talk(struct stack *stack, struct talk *talk)
{
	static uint32_t port = FIRST_CLIENT_PORT;
	struct address here = address_of(1), there = address_of(2);

	talk->socket = (uint32_t)byway_socket_open(stack, PROTOCOL_TCP);
	talk->bytes = 0;
	talk->since_ns = now_ns();
	if (byway_socket_bind(stack, talk->socket, &here, port++) ||
	    byway_tcp_connect(stack, talk->socket, &there, PORT, now_ns()))
		fail("connect");
}

static void end_talk(struct stack *stack, struct talk *talk, int is_ours)
{
	byway_socket_close(stack, talk->socket, now_ns());
	talk->socket = 0;
	shared->ended += !is_ours;
}

/* 0: the connection is no more. */
static int send_some(struct stack *stack, struct talk *talk)
{
	uint8_t message[MESSAGE_BYTES_MAX];
	int64_t result;

	if (!talk->bytes) {
		talk->bytes = 1 + (uint32_t)(draw() % MESSAGE_BYTES_MAX);
		talk->seed = draw();
		talk->sent = talk->come = 0;
		talk->since_ns = now_ns();
	}
	if (talk->sent == talk->bytes)
		return 1;
	for (uint32_t i = talk->sent; i < talk->bytes; i++)
		message[i] = byte_at(talk, i);
	result = byway_tcp_send(stack, talk->socket, message + talk->sent, talk->bytes - talk->sent, 0, now_ns());
	if (result > 0)
		talk->sent += (uint32_t)result;
	return result > 0 || result == NOT_NOW;
}

static int receive_some(struct stack *stack, struct talk *talk)
{
	uint8_t message[MESSAGE_BYTES_MAX];
	int64_t result = byway_tcp_receive(stack, talk->socket, message, sizeof(message), 0, now_ns());

	if (result <= 0)
		return result == NOT_NOW;
	for (int64_t i = 0; i < result; i++)
		if (talk->come + i >= talk->bytes || message[i] != byte_at(talk, talk->come + (uint32_t)i))
			fail("a byte is wrong");
	talk->come += (uint32_t)result;
	shared->compared_bytes += (uint64_t)result;
	if (talk->come == talk->bytes)
		talk->bytes = 0;
	return 1;
}

static void go_on(struct stack *stack, struct talk *talk)
{
	if (!talk->socket) {
		if (!load_relaxed(&shared->must_end))
			open_talk(stack, talk);
		return;
	}
	if (load_relaxed(&shared->must_end) && !talk->bytes) {
		end_talk(stack, talk, 1);
		return;
	}
	if (!send_some(stack, talk) || !receive_some(stack, talk))
		end_talk(stack, talk, 0);
	else if (now_ns() - talk->since_ns > STUCK_NS)
		fail("a connection is stuck");
}

static void run_client(struct stack *stack, struct vi *vi)
{
	struct talk talks[CONNECTIONS] = {0};
	uint32_t open = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (open || !load_relaxed(&shared->must_end)) {
		open = 0;
		for (int i = 0; i < CONNECTIONS; i++) {
			go_on(stack, &talks[i]);
			open += talks[i].socket != 0;
		}
		byway_vi_poll(vi, stack, now_ns());
	}
	store_release(&shared->has_ended, 1);
	for (;;)
		byway_vi_poll(vi, stack, now_ns());
}

/* -- the server ----------------------------------------------------------------------------------------------------------- */

static uint32_t accepted[ENDPOINTS];
static uint8_t echoes[ENDPOINTS][MESSAGE_BYTES_MAX]; /* what has been read and is to be written */
static uint32_t echo_bytes[ENDPOINTS];

static void echo(struct stack *stack, struct vi *vi, uint32_t slot)
{
	uint32_t socket = accepted[slot];
	int64_t result = 0;

	if (!echo_bytes[slot]) {
		result = byway_tcp_receive(stack, socket, echoes[slot], MESSAGE_BYTES_MAX, 0, now_ns());
		echo_bytes[slot] = result > 0 ? (uint32_t)result : 0;
	}
	if (echo_bytes[slot]) {
		result = byway_vi_send(vi, stack, socket, echoes[slot], echo_bytes[slot], 0, now_ns());
		if (result > 0) {
			echo_bytes[slot] -= (uint32_t)result;
			memmove(echoes[slot], echoes[slot] + result, echo_bytes[slot]);
		}
	}
	if (result > 0 || result == NOT_NOW)
		return;
	byway_socket_close(stack, socket, now_ns());
	accepted[slot] = echo_bytes[slot] = 0;
}

static void accept_all(struct stack *stack, uint32_t listener)
{
	int socket;

	while ((socket = byway_tcp_accept(stack, listener)) > 0)
		for (uint32_t slot = 0; slot < ENDPOINTS; slot++)
			if (!accepted[slot]) {
				accepted[slot] = (uint32_t)socket;
				break;
			}
}

static void serve(struct stack *stack, struct vi *vi, uint32_t listener)
{
	accept_all(stack, listener);
	for (uint32_t slot = 0; slot < ENDPOINTS; slot++)
		if (accepted[slot])
			echo(stack, vi, slot);
	byway_vi_poll(vi, stack, now_ns());
}

static pid_t start(void (*run)(struct stack *, struct vi *), struct stack *stack, struct vi *vi)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (child == 0) {
		run(stack, vi);
		_exit(0);
	}
	return child;
}

static void run_worker(struct stack *stack, struct vi *vi)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		if (!byway_vi_poll(vi, stack, now_ns()))
			byway_stack_run_timers(stack, now_ns());
}

static void end_child(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void serve_for(struct stack *stack, struct vi *vi, uint32_t listener, uint64_t ns)
{
	uint64_t until_ns = now_ns() + ns;

	while (now_ns() < until_ns)
		serve(stack, vi, listener);
}

static int holds_lock(const struct stack *stack, pid_t worker)
{
	return (uint32_t)load_relaxed(&stack->work.lock) == (uint32_t)worker;
}

/* One instruction. */
static void step(pid_t worker)
{
	if (ptrace(PTRACE_SINGLESTEP, worker, NULL, NULL) || waitpid(worker, NULL, 0) != worker)
		fail("the worker cannot be stepped");
}

/* Until it has the lock, and then a number of instructions that is small as often as it is large, while it has. */
static void step_into_lock(const struct stack *stack, pid_t worker)
{
	uint64_t left = draw() % (1u << draw() % STEPS_BITS_MAX), until_ns = now_ns() + STEPPING_NS_MAX;

	if (ptrace(PTRACE_ATTACH, worker, NULL, NULL) || waitpid(worker, NULL, 0) != worker)
		fail("the worker cannot be stopped");
	while (!holds_lock(stack, worker) && now_ns() < until_ns)
		step(worker);
	while (left-- && holds_lock(stack, worker) && now_ns() < until_ns)
		step(worker);
}

static void kill_workers(struct stack *stack, struct vi *vi, uint32_t listener, int kills)
{
	for (int i = 0; i < kills; i++) {
		pid_t worker = start(run_worker, stack, vi);

		serve_for(stack, vi, listener, draw() % LIVES_NS_MAX);
		step_into_lock(stack, worker);
		end_child(worker);
		serve_for(stack, vi, listener, draw() % (LIVES_NS_MAX / 10));
	}
}

int main(int argc, char **argv)
{
	struct address there = address_of(2);
	struct stack *server, *client;
	struct vi server_vi, client_vi;
	uint64_t begin_ns, cells;
	uint32_t listener;
	void *link;
	pid_t child;

	if (argc != 3)
		fail("holders SEED KILLS");
	random_state = strtoull(argv[1], NULL, 10) * 2654435761u + 1;
	shared = map(sizeof(*shared));
	server = make_stack(1);
	client = make_stack(2);
	link = map(byway_link_bytes());
	byway_link_make(link);
	byway_link_open(&client_vi, link, 0, 0);
	byway_link_open(&server_vi, link, 1, 0);
	cells = free_cells(server);
	listener = (uint32_t)byway_socket_open(server, PROTOCOL_TCP);
	if (byway_socket_bind(server, listener, &there, PORT) || byway_tcp_listen(server, listener, CONNECTIONS))
		fail("listen");
	child = start(run_client, client, &client_vi);
	kill_workers(server, &server_vi, listener, atoi(argv[2]));
	store_release(&shared->must_end, 1);
	for (begin_ns = now_ns(); !load_acquire(&shared->has_ended); serve(server, &server_vi, listener))
		if (waitpid(child, NULL, WNOHANG) || now_ns() - begin_ns > 2 * STUCK_NS)
			fail("the client did not come to its end");
	serve_for(server, &server_vi, listener, 5 * TIME_WAIT_MS * 1000000ull);
	end_child(child);
	byway_socket_close(server, listener, now_ns());
	printf("{\"kills\": %s, \"repairs\": %lu, \"ended\": %lu, \"compared_bytes\": %lu, \"missing_cells\": %ld}\n",
	       argv[2], (unsigned long)repairs(server), (unsigned long)shared->ended, (unsigned long)shared->compared_bytes,
	       (long)cells - (long)free_cells(server));
	return 0;
}
