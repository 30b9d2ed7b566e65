/* Habits of old programs, each in a program of its own: `habits select|handlers|library`. Prints "ok", or what was wrong.
 *
 * select: asks for getdtablesize() descriptors with a set of 1,024, and other things lie behind it.
 * handlers: a handler that installs itself again, as System V had it, while another thread forks.
 * library: a forked child in which a library that was there before us installs a handler (early.c). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURNS 20
#define HANDLERS_SECONDS 2

static int ends[2];

static void wrong(const char *what)
{
	printf("%s\n", what);
	exit(1);
}

/* A connection with itself, used often enough to be worth attaching. */
static void connect_ends(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 'x';

	if (bind(listener, (struct sockaddr *)&address, bytes) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &bytes))
		wrong("no listener");
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(ends[0], (struct sockaddr *)&address, bytes))
		wrong("no connection");
	ends[1] = accept(listener, NULL, NULL);
	for (int i = 0; i < TURNS; i++)
		for (int k = 0; k < 2; k++)
			if (send(ends[k], &byte, 1, 0) != 1 || recv(ends[1 - k], &byte, 1, 0) != 1)
				wrong("no byte");
}

static void *sends_late(void *none)
{
	usleep(50000);
	send(ends[0], "x", 1, 0);
	return none;
}

static void select_habit(void)
{
	struct {
		fd_set set;
		unsigned char behind[1 << 16];
	} memory;
	struct rlimit limit;
	pthread_t thread;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	connect_ends();
	for (int late = 0; late < 2; late++) {
		struct timeval time = {.tv_sec = 5};

		memset(&memory.set, 0, sizeof(memory.set));
		memset(memory.behind, 0x5a, sizeof(memory.behind));
		FD_SET(ends[1], &memory.set);
		if (late)
			pthread_create(&thread, NULL, sends_late, NULL);
		else
			send(ends[0], "x", 1, 0);
		if (select(getdtablesize(), &memory.set, NULL, NULL, &time) != 1 || !FD_ISSET(ends[1], &memory.set))
			wrong("select does not show the byte");
		for (size_t i = 0; i < sizeof(memory.behind); i++)
			if (memory.behind[i] != 0x5a)
				wrong("select wrote behind the set");
		if (late)
			pthread_join(thread, NULL);
		recv(ends[1], memory.behind, 1, 0);
	}
}

static volatile int over;
static pthread_t allocating;

static void handler(int number)
{
	signal(number, handler);
}

static void *allocates(void *none)
{
	void *kept[64];

	while (!over) {
		for (size_t i = 0; i < 64; i++)
			kept[i] = malloc(2000 + i * 64);
		for (size_t i = 0; i < 64; i++)
			free(kept[i]);
	}
	return none;
}

static void *signals(void *none)
{
	while (!over) {
		pthread_kill(allocating, SIGUSR1);
		usleep(50);
	}
	return none;
}

static void fork_once(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		wrong("no child");
}

static void handlers_habit(void)
{
	time_t end = time(NULL) + HANDLERS_SECONDS;
	pthread_t signalling;

	signal(SIGUSR1, handler);
	pthread_create(&allocating, NULL, allocates, NULL);
	pthread_create(&signalling, NULL, signals, NULL);
	while (time(NULL) < end)
		fork_once();
	over = 1;
	pthread_join(signalling, NULL);
	pthread_join(allocating, NULL);
}

int main(int argc, char **argv)
{
	const char *habit = argc == 2 ? argv[1] : "";

	alarm(30);
	if (!strcmp(habit, "select"))
		select_habit();
	else if (!strcmp(habit, "handlers"))
		handlers_habit();
	else if (!strcmp(habit, "library"))
		fork_once();
	else
		wrong("habits select|handlers|library");
	puts("ok");
	return 0;
}
