/* What a program sees of its descriptors when they run out, are closed wholesale, or are handed to other programs.
 * Each line is one case. `descriptors HOST PORT` (of peer.c), started with a low RLIMIT_NOFILE where that matters. */
#define _GNU_SOURCE
#include "wire.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;
static const char *host, *port;

static void say(const char *name, long value)
{
	printf("%s: %ld\n", name, value);
	fflush(stdout);
}

static int fresh(void)
{
	return wire_fresh(host, port);
}

static long exchange(int descriptor, uint32_t count)
{
	char *data = malloc(count);
	long got = 0;

	wire_ask(descriptor, WIRE_SEND, count, 0);
	wire_receive_all(descriptor, data, count);
	got = count;
	free(data);
	return got;
}

static void numbers(void)
{
	int first = fresh(), second = fresh(), file = open("/dev/null", O_RDONLY), third = fresh();

	printf("numbers: %d %d %d %d\n", first, second, file, third);
	close(second);
	second = open("/dev/null", O_RDONLY);
	say("the lowest free one is taken", second);
	close(file);
	file = fresh();
	say("by a socket too", file);
	say("first goes on", exchange(first, 5000));
	say("third goes on", exchange(third, 5000));
	for (int descriptor = 3; descriptor < 7; descriptor++)
		close(descriptor);
	say("free again", dup(1));
	close(3);
}

/* How many sockets can be had, what the next says, and that all goes on afterwards. */
static void exhausted(void)
{
	int descriptors[4096], count = 0, kept = fresh();
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	say("limit", (long)limit.rlim_cur);
	while (count < 4096 && (descriptors[count] = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
		count++;
	printf("no more: %s\n", strerrorname_np(errno));
	printf("count %d\n", count);
	printf("dup: %s\n", dup(1) < 0 ? strerrorname_np(errno) : "fine");
	say("kept goes on without descriptors", exchange(kept, 100000));
	for (int index = 0; index < count; index++)
		close(descriptors[index]);
	say("again", fresh() == kept + 1);
	say("kept goes on", exchange(kept, 100000));
	close(kept);
	close(kept + 1);
}

static void connect_with_one_left(void)
{
	int descriptors[4096], count = 0, connection;

	while (count < 4096 && (descriptors[count] = dup(1)) >= 0)
		count++;
	close(descriptors[--count]);
	connection = wire_fresh(host, port);
	say("a connection with the last descriptor", exchange(connection, 50000));
	close(connection);
	while (count > 0)
		close(descriptors[--count]);
}

static void wholesale(const char *name, int how)
{
	int connection;

	fresh();
	fresh();
	if (how == 0)
		close_range(3, ~0U, 0);
	else if (how == 1)
		closefrom(3);
	else
		for (int descriptor = 3; descriptor < sysconf(_SC_OPEN_MAX) && descriptor < 70000; descriptor++)
			close(descriptor);
	connection = fresh();
	printf("after %s: descriptor %d, ", name, connection);
	say("bytes", exchange(connection, 100000));
	close(connection);
}

static void wholesale_around(void)
{
	int connection = fcntl(fresh(), F_DUPFD, 50);

	close_range(3, 49, 0);
	close_range(51, ~0U, 0);
	say("all closed but a live one", exchange(connection, 100000));
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	say("after CLOSE_RANGE_CLOEXEC", exchange(connection, 100000));
	close(connection);
}

static void closed_elsewhere(void)
{
	char byte;
	int connection = fresh();

	close(connection);
	say("recv after close is EBADF", recv(connection, &byte, 1, 0) < 0 && errno == EBADF);
	say("close twice is EBADF", close(connection) < 0 && errno == EBADF);
	connection = fresh();
	say("write to it by dup2", dup2(1, connection) == connection);
	say("it is not a socket now", recv(connection, &byte, 1, 0) < 0 && errno == ENOTSOCK);
	close(connection);
}

static void children(void)
{
	char *const echo[] = {"sh", "-c", "printf hello", NULL};
	char *const none[] = {"/nonexistent", NULL};
	posix_spawn_file_actions_t actions;
	int connection = fresh(), status = 0;
	pid_t child;

	if ((child = vfork()) == 0) {
		execve("/bin/true", (char *const[]){"true", NULL}, environ);
		_exit(9);
	}
	waitpid(child, &status, 0);
	say("vfork and exec", status);
	say("goes on", exchange(connection, 20000));
	if ((child = vfork()) == 0) {
		execve(none[0], none, environ);
		_exit(9);
	}
	waitpid(child, &status, 0);
	say("vfork and failing exec", WEXITSTATUS(status));
	say("goes on", exchange(connection, 20000));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, connection);
	say("posix_spawn",
	    posix_spawn(&child, "/bin/sh", &actions, NULL, (char *const[]){"sh", "-c", "exit 3", NULL}, environ));
	waitpid(child, &status, 0);
	say("its status", WEXITSTATUS(status));
	say("goes on", exchange(connection, 20000));
	posix_spawn_file_actions_destroy(
		&actions); /* the child writes what the peer is to receive: not what belongs there */
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, connection, 1);
	wire_ask(connection, WIRE_SINK, 5, 0);
	say("posix_spawn with the socket as output", posix_spawnp(&child, "sh", &actions, NULL, echo, environ));
	waitpid(child, &status, 0);
	char answer;
	wire_receive_all(connection, &answer, 1);
	say("the peer answers", answer == '-');
	say("goes on", exchange(connection, 20000));
	say("system", system("true"));
	say("goes on", exchange(connection, 20000));
	close(connection);
}

int main(int argc, char **argv)
{
	bool limited = argc == 4 && strcmp(argv[3], "limited") == 0;

	if (argc < 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	host = argv[1];
	port = argv[2];
	if (limited) {
		exhausted();
		connect_with_one_left();
		exhausted();
		return 0;
	}
	numbers();
	wholesale("close_range", 0);
	wholesale("closefrom", 1);
	wholesale("a loop", 2);
	wholesale_around();
	closed_elsewhere();
	children();
	return 0;
}
