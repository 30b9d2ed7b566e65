/* select, poll and epoll in every mixture; each line is one case. `readiness HOST PORT` (of peer.c). */
#define _GNU_SOURCE
#include "wire.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/timerfd.h>
#include <time.h>

#define THREADS 16
#define MANY_SETS 12
#define FILLING 60000 /* with HELD more than a ring holds */
#define HELD 10000
#define BEHIND 10

static const char *host, *port;

static int fresh(void)
{
	return wire_fresh(host, port);
}

static void add(int set, int descriptor, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = descriptor};

	if (epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event))
		wire_fail("EPOLL_CTL_ADD");
}

static void say(const char *name, long value)
{
	printf("%s: %ld\n", name, value);
	fflush(stdout);
}

static void show(const char *name, int set, int timeout_ms)
{
	struct epoll_event events[8];
	int count = epoll_wait(set, events, 8, timeout_ms);

	printf("%s: %d", name, count);
	for (int index = 0; index < count; index++)
		printf(" %x", events[index].events);
	printf("\n");
	fflush(stdout);
}

static void await_bytes(int descriptor, int count)
{
	for (int have = 0; have < count;) {
		if (ioctl(descriptor, FIONREAD, &have))
			wire_fail("FIONREAD");
		if (have < count)
			poll(NULL, 0, 1);
	}
}

static void level_and_edge(void)
{
	char data[64];
	int descriptor = fresh(), level = epoll_create1(0), edge = epoll_create1(0);

	add(level, descriptor, EPOLLIN | EPOLLRDHUP);
	add(edge, descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	show("edge at first", edge, 0);
	show("edge again", edge, 0);
	show("level, nothing", level, 0);
	wire_ask(descriptor, WIRE_SEND, 20, 30);
	show("level wakes", level, 2000);
	await_bytes(descriptor, 20);
	show("level again", level, 0);
	show("edge sees it", edge, 2000);
	say("half", recv(descriptor, data, 10, 0));
	show("edge, half read", edge, 0);
	show("level, half read", level, 0);
	wire_ask(descriptor, WIRE_SEND, 10, 0);
	show("edge, more came", edge, 2000);
	await_bytes(descriptor, 20);
	say("all", recv(descriptor, data, sizeof(data), 0));
	show("level, empty", level, 0);
	wire_ask(descriptor, WIRE_SHUTDOWN, 0, 20);
	show("level, end", level, 2000);
	show("edge, end", edge, 2000);
	say("end", recv(descriptor, data, sizeof(data), 0));
	close(descriptor);
	show("closed", level, 0);
	close(level);
	close(edge);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A connection whose peer's kernel holds back HELD bytes (TCP_CORK) and with them what the peer sends after them. Under Byway
 * they are bytes that found the ring full, and those after them go by the ring. */
static int held_back(void)
{
	static char data[FILLING];
	int descriptor = fresh(), fast = 1;

	wire_ask(descriptor, WIRE_SEND, FILLING, 0);
	await_bytes(descriptor, FILLING);
	wire_ask(descriptor, WIRE_CORK, 1, 0);
	wire_ask(descriptor, WIRE_SEND, HELD, 0);
	poll(NULL, 0, 20);
	setsockopt(descriptor, IPPROTO_TCP, TCP_QUICKACK, &fast, sizeof(fast));
	wire_receive_all(descriptor, data, FILLING);
	/* The receiver comes to the kernel's turn. */
	if (recv(descriptor, data, sizeof(data), MSG_DONTWAIT) >= 0 || errno != EAGAIN)
		wire_fail("held back");
	wire_ask(descriptor, WIRE_SEND, BEHIND, 0);
	poll(NULL, 0, 20);
	return descriptor;
}

/* Linux lets the cork's bytes go by itself after 200 ms: a machine that was too slow is asked again. */
static int held_back_in_time(void)
{
	for (int tries = 0;; tries++) {
		long start = now_ms();
		int descriptor = held_back();

		if (now_ms() - start < 150 || tries == 20)
			return descriptor;
		close(descriptor);
	}
}

static void show_held_back(int descriptor, int level, int exclusive, int edge)
{
	struct pollfd entry = {.fd = descriptor, .events = POLLIN};
	int waiting = -1;
	char byte;

	ioctl(descriptor, FIONREAD, &waiting);
	say("FIONREAD", waiting);
	say("poll", poll(&entry, 1, 0));
	show("level", level, 0);
	show("exclusive", exclusive, 0);
	show("edge", edge, 0);
	say("recv", recv(descriptor, &byte, 1, MSG_DONTWAIT));
}

/* What lies behind bytes that have not come yet is not readable, and is when those are read, to the byte. */
static void held_back_bytes(void)
{
	static char data[HELD];
	int descriptor = held_back_in_time(), level = epoll_create1(0), exclusive = epoll_create1(0);
	int edge = epoll_create1(0), inner = epoll_create1(0), outer = epoll_create1(0);

	add(inner, descriptor, EPOLLIN); /* the first: of one bell it is this set that needs it */
	add(outer, inner, EPOLLIN);
	add(level, descriptor, EPOLLIN);
	add(exclusive, descriptor, EPOLLIN | EPOLLEXCLUSIVE);
	add(edge, descriptor, EPOLLIN | EPOLLET);
	show_held_back(descriptor, level, exclusive, edge);
	wire_ask(descriptor, WIRE_CORK, 0, 0);
	show("outer, let go", outer, 2000);
	show("inner, let go", inner, 0);
	show("level, let go", level, 2000);
	show("exclusive, let go", exclusive, 2000);
	show("edge, let go", edge, 2000);
	wire_receive_all(descriptor, data, HELD);
	show("level, the rest", level, 2000);
	show("exclusive, the rest", exclusive, 2000);
	show("outer, the rest", outer, 2000);
	show("inner, the rest", inner, 0);
	show("edge, the rest", edge, 0);
	say("rest", recv(descriptor, data, sizeof(data), MSG_DONTWAIT));
	show("level, all read", level, 0);
	close(level);
	close(exclusive);
	close(edge);
	close(inner);
	close(outer);
	close(descriptor);
}

static void *blocked_receiver(void *argument)
{
	static char data[HELD + BEHIND];

	return (void *)(long)(recv(*(int *)argument, data, sizeof(data), 0) > 0);
}

static void *blocked_poller(void *argument)
{
	struct pollfd entry = {.fd = *(int *)argument, .events = POLLIN};

	return (void *)(long)(poll(&entry, 1, 2000) == 1);
}

/* Somebody else takes what was held back, to the byte, before who sleeps for it is up: the rest is his. */
static long sleeps_for_the_rest(void *(*sleeper)(void *))
{
	static char data[HELD];
	struct timeval limit = {.tv_sec = 2};
	int descriptor = held_back_in_time();
	long start = now_ms();
	pthread_t thread;
	void *woken;

	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	pthread_create(&thread, NULL, sleeper, &descriptor);
	poll(NULL, 0, 20);
	wire_ask(descriptor, WIRE_CORK, 0, 0);
	for (long end = now_ms() + 100; now_ms() < end;)
		if (recv(descriptor, data, sizeof(data), MSG_DONTWAIT) > 0)
			break;
	pthread_join(thread, &woken);
	close(descriptor);
	return woken && now_ms() - start < 1800; /* not by the time limit */
}

static void held_back_sleepers(void)
{
	long receivers = 0, pollers = 0;

	for (int turn = 0; turn < 5; turn++) {
		receivers += sleeps_for_the_rest(blocked_receiver);
		pollers += sleeps_for_the_rest(blocked_poller);
	}
	say("blocked receivers woken", receivers);
	say("blocked pollers woken", pollers);
}

static void one_shot(void)
{
	char data[64];
	int descriptor = fresh(), set = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};

	add(set, descriptor, EPOLLIN | EPOLLONESHOT);
	wire_ask(descriptor, WIRE_SEND, 10, 10);
	show("one-shot", set, 2000);
	await_bytes(descriptor, 10);
	show("disarmed", set, 0);
	epoll_ctl(set, EPOLL_CTL_MOD, descriptor, &event);
	show("armed again", set, 0);
	say("got", recv(descriptor, data, sizeof(data), 0));
	epoll_ctl(set, EPOLL_CTL_MOD, descriptor, &event);
	show("armed, empty", set, 0);
	wire_ask(descriptor, WIRE_SEND, 10, 20);
	show("armed, wakes", set, 2000);
	close(set);
	close(descriptor);
}

static void nested(void)
{
	char data[64];
	int first = fresh(), second = fresh();
	int inner = epoll_create1(0), outer = epoll_create1(0), other = epoll_create1(0);
	struct pollfd entry = {.fd = outer, .events = POLLIN};

	add(inner, first, EPOLLIN);
	add(inner, second, EPOLLIN);
	add(outer, inner, EPOLLIN);
	add(other, first, EPOLLIN);
	say("poll of outer, nothing", poll(&entry, 1, 0));
	wire_ask(first, WIRE_SEND, 10, 30);
	say("poll of outer wakes", poll(&entry, 1, 2000));
	show("outer", outer, 2000);
	show("inner", inner, 2000);
	show("other set of the same socket", other, 2000);
	say("got", recv(first, data, sizeof(data), 0));
	show("outer, empty", outer, 0);
	show("inner, empty", inner, 0);
	wire_ask(second, WIRE_SEND, 10, 30);
	show("outer wakes", outer, 2000);
	show("inner has it", inner, 0);
	show("other has not", other, 0);
	close(inner);
	show("inner closed", outer, 0);
	close(outer);
	close(other);
	close(first);
	close(second);
}

static void *waits_for_a_member(void *argument)
{
	struct epoll_event event;

	return (void *)(long)epoll_wait(*(int *)argument, &event, 1, 2000);
}

/* More sets than there can be bells, and the bytes are there before the last ones watch: by a set of sets, by poll, and by a
 * thread that sleeps already. */
static void more_sets_than_bells(void)
{
	char data[64];
	int descriptor = fresh(), sets[MANY_SETS], outer = epoll_create1(0);
	struct pollfd entry = {.events = POLLIN};
	pthread_t thread;
	void *woken;
	long start;

	for (int index = 0; index < MANY_SETS; index++)
		sets[index] = epoll_create1(0);
	add(sets[0], descriptor, EPOLLIN);
	wire_ask(descriptor, WIRE_SEND, 10, 0);
	await_bytes(descriptor, 10);
	for (int index = 1; index < MANY_SETS - 1; index++)
		add(sets[index], descriptor, index % 2 ? EPOLLIN : EPOLLIN | EPOLLET);
	add(outer, sets[MANY_SETS - 3], EPOLLIN);
	show("outer of the last but two", outer, 0);
	entry.fd = sets[MANY_SETS - 2];
	say("poll of the last but one", poll(&entry, 1, 0));
	pthread_create(&thread, NULL, waits_for_a_member, &sets[MANY_SETS - 1]);
	poll(NULL, 0, 50);
	add(sets[MANY_SETS - 1], descriptor, EPOLLIN);
	start = now_ms();
	pthread_join(thread, &woken);
	say("who slept in the last, in time", (long)woken == 1 && now_ms() - start < 1500);
	say("got", recv(descriptor, data, sizeof(data), 0));
	show("outer, empty", outer, 0);
	say("poll, empty", poll(&entry, 1, 0));
	wire_ask(descriptor, WIRE_SEND, 10, 30);
	show("outer again", outer, 2000);
	say("poll again", poll(&entry, 1, 2000));
	for (int index = 0; index < MANY_SETS; index++) {
		show("each", sets[index], 100);
		close(sets[index]);
	}
	close(outer);
	close(descriptor);
}

/* With a ring of 4 KB (an option of the test) what comes second goes by the kernel, and neither carrier has as much as the mark. */
static void low_water_over_both(void)
{
	static char data[7000];
	int descriptor = fresh(), set = epoll_create1(0), mark = 5000;
	struct pollfd entry = {.fd = descriptor, .events = POLLIN};

	if (setsockopt(descriptor, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)))
		wire_fail("SO_RCVLOWAT");
	add(set, descriptor, EPOLLIN);
	for (int round = 0; round < 2; round++) {
		wire_ask(descriptor, WIRE_SEND, 3000, 0);
		await_bytes(descriptor, 3000);
		show("below the mark", set, 20);
		wire_ask(descriptor, WIRE_SEND, 4000, 30);
		if (round)
			say("poll, above the mark", poll(&entry, 1, 2000));
		else
			show("above the mark", set, 2000);
		wire_receive_all(descriptor, data, sizeof(data));
	}
	close(set);
	close(descriptor);
}

static void mixed(void)
{
	char data[64];
	int descriptor = fresh(), set = epoll_create1(0), event = eventfd(0, EFD_NONBLOCK);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), ends[2];
	struct itimerspec soon = {.it_value = {.tv_nsec = 30000000}};
	struct pollfd entries[3];
	uint64_t one = 1;
	fd_set readable;

	if (pipe(ends))
		wire_fail("pipe");
	add(set, descriptor, EPOLLIN);
	add(set, event, EPOLLIN);
	add(set, timer, EPOLLIN);
	add(set, ends[0], EPOLLIN);
	timerfd_settime(timer, 0, &soon, NULL);
	show("timer", set, 2000);
	say("timer read", read(timer, data, 8));
	say("pipe write", write(ends[1], "x", 1));
	show("pipe", set, 2000);
	say("pipe read", read(ends[0], data, 1));
	say("event write", write(event, &one, 8));
	show("event", set, 2000);
	wire_ask(descriptor, WIRE_SEND, 10, 0);
	await_bytes(descriptor, 10);
	show("event and socket", set, 2000);
	entries[0] = (struct pollfd){.fd = descriptor, .events = POLLIN | POLLOUT};
	entries[1] = (struct pollfd){.fd = event, .events = POLLIN};
	entries[2] = (struct pollfd){.fd = -1, .events = POLLIN};
	say("poll of both", poll(entries, 3, 1000));
	printf("poll results: %x %x %x\n", entries[0].revents, entries[1].revents, entries[2].revents);
	FD_ZERO(&readable);
	FD_SET(descriptor, &readable);
	FD_SET(ends[0], &readable);
	say("select of socket and pipe", select(FD_SETSIZE, &readable, NULL, NULL, NULL));
	printf("select results: %d %d\n", !!FD_ISSET(descriptor, &readable), !!FD_ISSET(ends[0], &readable));
	say("socket read", read(descriptor, data, sizeof(data)));
	entries[0].events = POLLIN;
	say("poll, socket empty", poll(entries, 1, 0));
	close(descriptor);
	close(set);
	close(event);
	close(timer);
	close(ends[0]);
	close(ends[1]);
}

static void duplicated(void)
{
	char data[64];
	int descriptor = fresh(), copy = dup(descriptor), high = fcntl(descriptor, F_DUPFD_CLOEXEC, 100),
		set = epoll_create1(0);
	struct pollfd entry = {.fd = copy, .events = POLLIN};

	add(set, copy, EPOLLIN);
	wire_ask(high, WIRE_SEND, 30, 20);
	say("poll of the copy", poll(&entry, 1, 2000));
	await_bytes(copy, 30);
	say("recv of the first", recv(descriptor, data, 10, 0));
	say("recv of the copy", recv(copy, data, 10, 0));
	say("recv of the high one", read(high, data, 10));
	close(descriptor);
	wire_ask(copy, WIRE_SEND, 10, 20);
	show("set, first closed", set, 2000);
	close(copy);
	show("set, its descriptor closed, description open", set, 0);
	say("the last one", recv(high, data, sizeof(data), 0));
	if (dup2(high, 7) != 7 || fcntl(7, F_SETFL, O_NONBLOCK))
		wire_fail("dup2");
	say("flags are shared", recv(high, data, 1, 0) < 0 && errno == EAGAIN);
	close(7);
	close(high);
	close(set);
}

struct shared_set {
	int set;
	int pairs[THREADS];
	_Atomic int handled;
	_Atomic int doubled;
	_Atomic int busy[4096];
};

static void *one_shot_worker(void *argument)
{
	struct shared_set *shared = argument;
	struct epoll_event event;
	char data[256];

	while (shared->handled < 2000 && epoll_wait(shared->set, &event, 1, 3000) == 1) {
		int descriptor = event.data.fd;
		if (shared->busy[descriptor]++)
			shared->doubled++;
		ssize_t got = recv(descriptor, data, 100, MSG_WAITALL);
		if (got == 100 && ++shared->handled < 2000)
			wire_ask(descriptor, WIRE_SEND, 100, 0);
		shared->busy[descriptor]--;
		event.events = EPOLLIN | EPOLLONESHOT;
		epoll_ctl(shared->set, EPOLL_CTL_MOD, descriptor, &event);
	}
	return NULL;
}

static void one_shot_threads(void)
{
	static struct shared_set shared;
	pthread_t threads[THREADS];

	shared.set = epoll_create1(0);
	for (int index = 0; index < THREADS; index++) {
		shared.pairs[index] = fresh();
		add(shared.set, shared.pairs[index], EPOLLIN | EPOLLONESHOT);
	}
	for (int index = 0; index < THREADS; index++)
		wire_ask(shared.pairs[index], WIRE_SEND, 100, 0);
	for (int index = 0; index < THREADS / 2; index++)
		pthread_create(&threads[index], NULL, one_shot_worker, &shared);
	for (int index = 0; index < THREADS / 2; index++)
		pthread_join(threads[index], NULL);
	say("one-shot threads handled enough", shared.handled >= 2000);
	say("one-shot threads doubled", shared.doubled);
	for (int index = 0; index < THREADS; index++)
		close(shared.pairs[index]);
	close(shared.set);
}

static void *exclusive_worker(void *argument)
{
	int descriptor = *(int *)argument, set = epoll_create1(0);
	struct epoll_event event;
	long got = 0;
	char data[64];

	add(set, descriptor, EPOLLIN | EPOLLEXCLUSIVE);
	for (;;) {
		if (epoll_wait(set, &event, 1, 5000) != 1)
			break;
		ssize_t part = recv(descriptor, data, 10, MSG_DONTWAIT);
		if (part == 0 || (part < 0 && errno != EAGAIN))
			break;
		got += part > 0 ? part : 0;
	}
	close(set);
	return (void *)got;
}

static void exclusive(void)
{
	pthread_t threads[4];
	int descriptor = fresh();
	long total = 0;

	for (int index = 0; index < 4; index++)
		pthread_create(&threads[index], NULL, exclusive_worker, &descriptor);
	for (int turn = 0; turn < 50; turn++)
		wire_ask(descriptor, WIRE_SEND, 10, 1);
	wire_ask(descriptor, WIRE_CLOSE, 0, 10);
	for (int index = 0; index < 4; index++) {
		void *part;
		pthread_join(threads[index], &part);
		total += (long)part;
	}
	say("exclusive sets received", total);
	close(descriptor);
}

static void *block_on_own(void *argument)
{
	char data[100];
	int descriptor = fresh();

	(void)argument;
	for (int turn = 0; turn < 20; turn++) {
		wire_ask(descriptor, WIRE_SEND, sizeof(data), 3);
		wire_receive_all(descriptor, data, sizeof(data));
	}
	close(descriptor);
	return (void *)1;
}

static void fifty_threads(void)
{
	pthread_t threads[50];
	long fine = 0;

	for (int index = 0; index < 50; index++)
		pthread_create(&threads[index], NULL, block_on_own, NULL);
	for (int index = 0; index < 50; index++) {
		void *one;
		pthread_join(threads[index], &one);
		fine += (long)one;
	}
	say("fifty threads on own connections", fine);
}

static void *shared_reader(void *argument)
{
	int descriptor = *(int *)argument;
	char data[512];
	long total = 0;
	ssize_t got;

	while ((got = recv(descriptor, data, sizeof(data), 0)) > 0)
		total += got;
	return (void *)total;
}

static void threads_on_one(void)
{
	pthread_t threads[12];
	int descriptor = fresh();
	long total = 0;

	for (int index = 0; index < 12; index++)
		pthread_create(&threads[index], NULL, shared_reader, &descriptor);
	for (int turn = 0; turn < 100; turn++)
		wire_ask(descriptor, WIRE_SEND, 5000, turn % 10 == 0);
	wire_ask(descriptor, WIRE_SHUTDOWN, 0, 5);
	for (int index = 0; index < 12; index++) {
		void *part;
		pthread_join(threads[index], &part);
		total += (long)part;
	}
	say("twelve threads blocked on one connection", total);
	close(descriptor);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	host = argv[1];
	port = argv[2];
	level_and_edge();
	held_back_bytes();
	held_back_sleepers();
	one_shot();
	nested();
	more_sets_than_bells();
	low_water_over_both();
	mixed();
	duplicated();
	one_shot_threads();
	exclusive();
	fifty_threads();
	threads_on_one();
	return 0;
}
