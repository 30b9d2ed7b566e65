/* A thread sleeps in epoll_wait while another looks at the same set without waiting, at the very moment when a byte comes.
 *
 * `lookers ROUNDS SEED` prints "woken N" and ends with 0; with 1 when the sleeper was not woken in a round. The item is
 * level-triggered and nobody reads the byte before: so the sleeper must get it, whatever the other has got (epoll(7)). */
#define _GNU_SOURCE
#include "wire.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "position.h"

#define PATIENCE_MS 10000

static void must(bool done, const char *what)
{
	if (!done)
		wire_fail(what);
}

/* Shared with the sending process. */
struct shared {
	_Atomic unsigned begun; /* the last round in which the sender is about to send */
	_Atomic unsigned asked; /* the last round for which it is asked */
};

static struct shared *shared;
static int set;
static _Atomic unsigned sleeping, woken;

static void *sleeper(void *rounds)
{
	for (unsigned round = 1; round <= *(const unsigned *)rounds; round++) {
		struct epoll_event event;

		while (atomic_load(&shared->asked) < round)
			;
		atomic_store(&sleeping, round);
		must(epoll_wait(set, &event, 1, -1) == 1, "epoll_wait");
		atomic_store(&woken, round);
		while (atomic_load(&shared->asked) == round) /* until the byte is read */
			usleep(10);
	}
	return NULL;
}

static void send_rounds(int descriptor, unsigned rounds, uint64_t seed)
{
	for (unsigned round = 1; round <= rounds; round++) {
		unsigned turns = (unsigned)(position_word(seed, round) % 3000);

		while (atomic_load(&shared->asked) < round)
			usleep(10);
		usleep(100); /* the sleeper sleeps */
		atomic_store(&shared->begun, round);
		for (volatile unsigned turn = 0; turn < turns; turn++)
			;
		must(send(descriptor, "x", 1, 0) == 1, "send");
	}
}

static bool is_woken(unsigned round)
{
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		if (atomic_load(&woken) == round)
			return true;
		poll(NULL, 0, waited > 0);
	}
	return false;
}

static void look(unsigned round, unsigned looks)
{
	struct epoll_event event;

	while (atomic_load(&shared->begun) < round)
		;
	for (unsigned done = 0; done < looks; done++)
		must(epoll_wait(set, &event, 1, 0) >= 0, "look");
}

static int look_rounds(int descriptor, unsigned rounds, uint64_t seed)
{
	struct epoll_event item = {.events = EPOLLIN};
	pthread_t thread;
	char byte;

	set = epoll_create1(0);
	must(epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &item) == 0, "epoll_ctl");
	must(pthread_create(&thread, NULL, sleeper, &rounds) == 0, "pthread_create");
	for (unsigned round = 1; round <= rounds; round++) {
		atomic_store(&shared->asked, round);
		look(round, 1 + (unsigned)(position_word(~seed, round) % 3));
		if (!is_woken(round)) {
			printf("not woken in round %u\n", round);
			return 1;
		}
		must(recv(descriptor, &byte, 1, 0) == 1, "recv");
	}
	atomic_store(&shared->asked, rounds + 1);
	must(pthread_join(thread, NULL) == 0, "pthread_join");
	printf("woken %u\n", rounds);
	return 0;
}

/* Some turns to and fro: the connection is on the ring. */
static void warm_up(int descriptor, bool first)
{
	char byte = 'w';

	for (int turn = 0; turn < 50; turn++) {
		if (first)
			must(send(descriptor, &byte, 1, 0) == 1, "send");
		must(recv(descriptor, &byte, 1, 0) == 1, "recv");
		if (!first)
			must(send(descriptor, &byte, 1, 0) == 1, "send");
	}
}

int main(int count, char **arguments)
{
	unsigned rounds = count > 2 ? (unsigned)atoi(arguments[1]) : 0;
	uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 0) : 0;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), descriptor, result;
	pid_t child;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(bind(listener, (struct sockaddr *)&address, bytes) == 0 && listen(listener, 1) == 0, "listen");
	must(getsockname(listener, (struct sockaddr *)&address, &bytes) == 0, "getsockname");
	child = fork();
	must(child >= 0, "fork");
	descriptor = child ? accept(listener, NULL, NULL) : socket(AF_INET, SOCK_STREAM, 0);
	if (!child)
		must(connect(descriptor, (struct sockaddr *)&address, bytes) == 0, "connect");
	warm_up(descriptor, child != 0);
	if (!child) {
		send_rounds(descriptor, rounds, seed);
		_exit(0);
	}
	result = look_rounds(descriptor, rounds, seed);
	kill(child, SIGKILL);
	must(waitpid(child, NULL, 0) == child, "waitpid");
	return result;
}
