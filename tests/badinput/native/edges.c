/* What epoll sets show when their sockets go into the kernel, lose a descriptor, or belong to a child too; each line is one
 * look. `edges HOST PORT` (of peer.c). */
#define _GNU_SOURCE
#include "wire.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#define SPENT_MS 2000

static const char *host, *port;

static int fresh(void)
{
	return wire_fresh(host, port);
}

static void change(int set, int operation, int descriptor, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	if (epoll_ctl(set, operation, descriptor, &event))
		wire_fail("epoll_ctl");
}

static void show(const char *name, int set, int timeout_ms)
{
	struct epoll_event events[8];
	int count = epoll_wait(set, events, 8, timeout_ms);
	uint32_t of[16] = {0};

	for (int index = 0; index < count; index++)
		of[events[index].data.u64 & 15] |= events[index].events;
	printf("%s: %d", name, count);
	for (int data = 0; data < 16; data++)
		if (of[data])
			printf(" %d:%x", data, of[data]);
	printf("\n");
	fflush(stdout);
}

static void bytes_come(int descriptor, int count)
{
	int before = 0;

	if (ioctl(descriptor, FIONREAD, &before))
		wire_fail("FIONREAD");
	wire_ask(descriptor, WIRE_SEND, (uint32_t)count, 0);
	for (int have = 0; have < before + count;) {
		if (ioctl(descriptor, FIONREAD, &have))
			wire_fail("FIONREAD");
		if (have < before + count)
			poll(NULL, 0, 1);
	}
}

static int ready_eventfd(int set, uint32_t events, uint64_t data)
{
	int descriptor = eventfd(1, 0);

	change(set, EPOLL_CTL_ADD, descriptor, events, data);
	return descriptor;
}

/* stdio reads inside libc: all that is unread goes into the kernel. */
static void give_away(int descriptor)
{
	FILE *file = fdopen(dup(descriptor), "r");

	if (!file)
		wire_fail("fdopen");
	fclose(file);
}

/* Others in the set have edges of their own, shown and not shown. */
static void given_away(const char *name, uint32_t events, bool shown)
{
	int descriptor = fresh(), set = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
	int others[5];
	char data[64];

	printf("given away: %s\n", name);
	change(set, EPOLL_CTL_ADD, descriptor, events, 1);
	show("first", set, 0);
	others[0] = ready_eventfd(set, EPOLLIN | EPOLLET, 2);
	bytes_come(descriptor, 20);
	if (shown)
		show("bytes", set, SPENT_MS);
	others[1] = ready_eventfd(set, EPOLLIN | EPOLLET, 3);
	others[2] = ready_eventfd(set, EPOLLIN | EPOLLONESHOT, 4);
	others[3] = ready_eventfd(set, EPOLLIN, 5);
	others[4] = ready_eventfd(set, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 6);
	give_away(descriptor);
	show("given", set, 0);
	show("again", set, 0);
	change(set, EPOLL_CTL_DEL, others[3], 0, 0);
	change(outer, EPOLL_CTL_ADD, set, EPOLLIN, 1);
	show("from outside", outer, 0);
	bytes_come(descriptor, 5);
	show("more", set, SPENT_MS);
	printf("got %zd\n", recv(descriptor, data, sizeof(data), 0));
	show("empty", set, 0);
	for (int index = 0; index < 5; index++)
		close(others[index]);
	close(outer);
	close(set);
	close(descriptor);
}

/* The registration lives on by the other descriptor. */
static void descriptor_closed(const char *name, uint32_t events)
{
	int descriptor = fresh(), set = epoll_create1(EPOLL_CLOEXEC), other;
	char data[64];

	printf("descriptor closed: %s\n", name);
	change(set, EPOLL_CTL_ADD, descriptor, events, 1);
	show("first", set, 0);
	other = dup(descriptor);
	close(descriptor);
	show("closed", set, 0);
	bytes_come(other, 20);
	show("bytes", set, SPENT_MS);
	show("again", set, 0);
	printf("got %zd\n", recv(other, data, sizeof(data), 0));
	show("empty", set, 0);
	wire_ask(other, WIRE_SHUTDOWN, 0, 0);
	poll(&(struct pollfd){.fd = other, .events = POLLRDHUP}, 1, SPENT_MS);
	show("end", set, 0);
	close(other);
	show("all closed", set, 0);
	close(set);
}

/* A child holds the socket, and the set. Nobody in this process can take the socket out of the set any more. */
static void child_holds(const char *name, uint32_t events)
{
	int descriptor = fresh(), set = epoll_create1(0), stop[2];
	pid_t child;

	printf("child holds: %s\n", name);
	change(set, EPOLL_CTL_ADD, descriptor, events, 1);
	show("first", set, 0);
	if (pipe(stop))
		wire_fail("pipe");
	child = fork();
	if (child == 0) {
		char byte;

		close(stop[1]);
		_exit(read(stop[0], &byte, 1) != 0);
	}
	close(stop[0]);
	change(set, EPOLL_CTL_MOD, descriptor, events | EPOLLOUT, 2);
	show("changed", set, 0);
	wire_ask(descriptor, WIRE_SHUTDOWN, 0, 0);
	poll(&(struct pollfd){.fd = descriptor, .events = POLLRDHUP}, 1, SPENT_MS);
	close(descriptor);
	show("closed here", set, 0);
	close(stop[1]);
	waitpid(child, NULL, 0);
	show("child gone", set, 0);
	close(set);
}

/* A child that becomes a program with the set open must not disturb what its parent does with the set. */
static void child_execs(void)
{
	int descriptor = fresh(), set = epoll_create1(0);
	pid_t child;

	printf("child execs\n");
	change(set, EPOLL_CTL_ADD, descriptor, EPOLLOUT, 1);
	show("first", set, 0);
	child = fork();
	if (child == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	show("execed", set, 0);
	change(set, EPOLL_CTL_DEL, descriptor, 0, 0);
	show("taken out", set, 0);
	change(set, EPOLL_CTL_ADD, descriptor, EPOLLIN, 3);
	show("in again", set, 0);
	bytes_come(descriptor, 20);
	show("bytes", set, SPENT_MS);
	close(set);
	close(descriptor);
}

/* A set that is a member of another shows what it has, and no more. */
static void from_outside(void)
{
	int descriptor = fresh(), set = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
	char data[64];

	printf("from outside\n");
	change(set, EPOLL_CTL_ADD, descriptor, EPOLLIN | EPOLLET, 1);
	change(outer, EPOLL_CTL_ADD, set, EPOLLIN, 2);
	show("nothing", outer, 0);
	bytes_come(descriptor, 20);
	show("bytes", outer, SPENT_MS);
	printf("got %zd\n", recv(descriptor, data, sizeof(data), 0));
	show("read", outer, 0);
	show("read, the set", set, 0);
	change(set, EPOLL_CTL_MOD, descriptor, EPOLLIN | EPOLLONESHOT, 1);
	bytes_come(descriptor, 20);
	show("one-shot", set, SPENT_MS);
	show("spent", outer, 0);
	wire_ask(descriptor, WIRE_CLOSE, 0, 0);
	poll(&(struct pollfd){.fd = descriptor, .events = POLLRDHUP}, 1, SPENT_MS);
	show("end", outer, 0);
	change(set, EPOLL_CTL_MOD, descriptor, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, 1);
	show("armed", outer, 0);
	show("armed, the set", set, 0);
	printf("in the set: %d\n", epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &(struct epoll_event){0}));
	change(set, EPOLL_CTL_DEL, descriptor, 0, 0);
	show("out", outer, 0);
	close(outer);
	close(set);
	close(descriptor);
}

/* Whoever sets SO_RCVLOWAT is told again of what is there. */
static void low_water(void)
{
	int descriptor = fresh(), set = epoll_create1(EPOLL_CLOEXEC), one = 1;

	printf("low water\n");
	change(set, EPOLL_CTL_ADD, descriptor, EPOLLIN | EPOLLET, 1);
	bytes_come(descriptor, 20);
	show("bytes", set, SPENT_MS);
	show("again", set, 0);
	setsockopt(descriptor, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	show("set", set, 0);
	close(set);
	close(descriptor);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	host = argv[1];
	port = argv[2];
	given_away("shown", EPOLLIN | EPOLLET, true);
	given_away("due", EPOLLIN | EPOLLET, false);
	given_away("shown, in and out", EPOLLIN | EPOLLOUT | EPOLLET, true);
	given_away("due, in and out", EPOLLIN | EPOLLOUT | EPOLLET, false);
	given_away("out", EPOLLOUT | EPOLLET, true);
	given_away("level", EPOLLIN, true);
	descriptor_closed("level", EPOLLIN | EPOLLRDHUP);
	descriptor_closed("level, out", EPOLLIN | EPOLLOUT);
	descriptor_closed("edge", EPOLLIN | EPOLLET);
	descriptor_closed("one-shot", EPOLLIN | EPOLLONESHOT);
	child_holds("level", EPOLLIN);
	child_holds("edge", EPOLLIN | EPOLLET);
	child_execs();
	from_outside();
	low_water();
	return 0;
}
