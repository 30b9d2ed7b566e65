/* A thread sleeps in poll on sockets of one peer, and others begin and end such sleeps all the time and read nothing, also
 * in a handler within a sleep: who sleeps must wake when a byte comes.
 *
 * `pollers ROUNDS SEED` prints "answered N" and ends with 0; with 1 when a byte was not answered. */
#define _GNU_SOURCE
#include "wire.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "position.h"

#define CONNECTIONS 4
#define LOOKERS 2
#define LOOK_NS 2000
#define WARM_TURNS 50
#define PATIENCE_S 10
#define HANDLER_EVERY_US 300
#define HANDLER_SLEEP_MS 1

static int ends[CONNECTIONS];
static _Atomic unsigned answers;

static void must(bool done, const char *what)
{
	if (!done)
		wire_fail(what);
}

static void in_handler(int number)
{
	struct pollfd one = {.fd = ends[1], .events = POLLIN};
	int before = errno;

	(void)number;
	poll(&one, 1, HANDLER_SLEEP_MS);
	errno = before;
}

static void list(struct pollfd *all)
{
	for (int i = 0; i < CONNECTIONS; i++)
		all[i] = (struct pollfd){.fd = ends[i], .events = POLLIN};
}

static void *looker(void *unused)
{
	struct timespec moment = {.tv_nsec = LOOK_NS};
	struct pollfd all[CONNECTIONS];

	(void)unused;
	prctl(PR_SET_TIMERSLACK, 1);
	while (answers < WARM_TURNS * CONNECTIONS) /* none attaches under a sleeper */
		usleep(100);
	for (;;) {
		list(all);
		must(ppoll(all, CONNECTIONS, &moment, NULL) >= 0 || errno == EINTR, "ppoll");
	}
	return NULL;
}

/* 0: the peer has ended. */
static bool answer(int descriptor)
{
	char byte;
	ssize_t got = recv(descriptor, &byte, 1, MSG_DONTWAIT);

	if (got == 1) {
		answers++;
		must(send(descriptor, &byte, 1, 0) == 1, "send");
	} else {
		must(got == 0 || errno == EAGAIN || errno == EINTR, "recv");
	}
	return got != 0;
}

static void *answerer(void *unused)
{
	struct pollfd all[CONNECTIONS];

	(void)unused;
	for (;;) {
		list(all);
		must(poll(all, CONNECTIONS, -1) >= 0 || errno == EINTR, "poll");
		for (int i = 0; i < CONNECTIONS; i++)
			if (all[i].revents && !answer(ends[i]))
				return NULL;
	}
}

static void ask_on(int descriptor, unsigned round)
{
	char byte = 'x';

	must(send(descriptor, &byte, 1, 0) == 1, "send");
	if (recv(descriptor, &byte, 1, 0) == 1)
		return;
	printf("not answered in round %u\n", round);
	fflush(stdout);
	_exit(1);
}

static void ask(unsigned rounds, uint64_t seed)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};

	for (int i = 0; i < CONNECTIONS; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (unsigned turn = 0; turn < WARM_TURNS * CONNECTIONS; turn++)
		ask_on(ends[turn % CONNECTIONS], 0);
	for (unsigned round = 1; round <= rounds; round++) {
		uint64_t random = position_word(seed, round);

		if (random & 1)
			usleep((useconds_t)(random >> 8) % 200); /* who answers sleeps */
		for (volatile unsigned wait = (unsigned)(random >> 8) % 5000; wait > 0; wait--)
			;
		ask_on(ends[random % CONNECTIONS], round);
	}
	printf("answered %u\n", rounds);
	fflush(stdout);
	_exit(0);
}

static void start_handlers(void)
{
	struct sigaction action = {.sa_handler = in_handler, .sa_flags = SA_RESTART};
	struct itimerval timer = {.it_interval = {.tv_usec = HANDLER_EVERY_US}, .it_value = {.tv_usec = HANDLER_EVERY_US}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

int main(int count, char **arguments)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), status = 0;
	pthread_t thread;
	pid_t child;

	must(count == 3, "usage: pollers ROUNDS SEED");
	must(!bind(listener, (struct sockaddr *)&address, bytes) && !listen(listener, CONNECTIONS) &&
	         !getsockname(listener, (struct sockaddr *)&address, &bytes),
	     "listen");
	child = fork();
	if (!child) {
		for (int i = 0; i < CONNECTIONS; i++) {
			ends[i] = socket(AF_INET, SOCK_STREAM, 0);
			must(!connect(ends[i], (struct sockaddr *)&address, bytes), "connect");
		}
		ask((unsigned)atoi(arguments[1]), strtoull(arguments[2], NULL, 10));
	}
	for (int i = 0; i < CONNECTIONS; i++)
		must((ends[i] = accept(listener, NULL, NULL)) >= 0, "accept");
	for (int i = 0; i <= LOOKERS; i++)
		must(!pthread_create(&thread, NULL, i ? looker : answerer, NULL), "pthread_create");
	start_handlers();
	while (waitpid(child, &status, 0) < 0)
		must(errno == EINTR, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
