/* A server that does what its clients ask (wire.h), a thread a connection: `peer HOST [fork|prefork|daemon-before FILE|daemon-after FILE]`.
 *
 * fork: a process a connection; prefork: four processes accept, each with threads. Prints "port N". As a daemon it forks twice, closes all descriptors, and writes its process id, before or after it listens. */
#define _GNU_SOURCE
#include "wire.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "position.h"

#define PEER_STREAM 77

static bool serve_send(int descriptor, uint64_t *offset, uint32_t count)
{
	static __thread uint8_t buffer[65536 + 16];

	while (count > 0) {
		size_t bytes = count < 65536 ? count : 65536;
		uint8_t *from = position_fill(buffer, PEER_STREAM, *offset, bytes);
		ssize_t sent = send(descriptor, from, bytes, MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR)
			return false;
		if (sent > 0) {
			*offset += (uint64_t)sent;
			count -= (uint32_t)sent;
		}
	}
	return true;
}

static bool serve_sink(int descriptor, uint64_t *offset, uint32_t count)
{
	static __thread uint8_t buffer[65536];
	bool right = true;

	while (count > 0) {
		ssize_t got = recv(descriptor, buffer, count < 65536 ? count : 65536, 0);
		if (got == 0 || (got < 0 && errno != EINTR))
			return false;
		if (got > 0) {
			right &= position_mismatch(buffer, PEER_STREAM + 1, *offset, (size_t)got) < 0;
			*offset += (uint64_t)got;
			count -= (uint32_t)got;
		}
	}
	return send(descriptor, right ? "+" : "-", 1, MSG_NOSIGNAL) == 1;
}

static bool serve_one(int descriptor, const struct wire_command *command, uint64_t offsets[2])
{
	struct linger linger = {1, 0};
	int cork = (int)command->count;

	if (command->delay_ms)
		poll(NULL, 0, (int)command->delay_ms);
	if (command->verb == WIRE_SEND)
		return serve_send(descriptor, &offsets[0], command->count);
	if (command->verb == WIRE_SINK)
		return serve_sink(descriptor, &offsets[1], command->count);
	if (command->verb == WIRE_RESET)
		setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (command->verb == WIRE_SHUTDOWN)
		shutdown(descriptor, SHUT_WR);
	if (command->verb == WIRE_CORK)
		setsockopt(descriptor, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork));
	return command->verb == WIRE_SHUTDOWN || command->verb == WIRE_STALL || command->verb == WIRE_CORK;
}

static void *serve(void *argument)
{
	int descriptor = (int)(intptr_t)argument;
	struct wire_command command;
	uint64_t offsets[2] = {0, 0};
	int one = 1;

	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	while (recv(descriptor, &command, sizeof(command), MSG_WAITALL) == sizeof(command))
		if (command.reserved || command.delay_ms > 10000 || !serve_one(descriptor, &command, offsets))
			break;
	close(descriptor);
	return NULL;
}

static int listen_at(const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE};
	struct addrinfo *found = NULL;
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);
	int descriptor;

	if (getaddrinfo(host, "0", &hints, &found) || !found)
		wire_fail("getaddrinfo");
	descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0 || bind(descriptor, found->ai_addr, found->ai_addrlen) || listen(descriptor, 128))
		wire_fail("listen");
	getsockname(descriptor, (void *)&address, &bytes);
	printf("port %u\n", ntohs(((struct sockaddr_in *)&address)->sin_port));
	fflush(stdout);
	return descriptor;
}

static void become_daemon(int keep, const char *pid_path)
{
	FILE *file;

	if (fork() > 0)
		_exit(0);
	setsid();
	if (fork() > 0)
		_exit(0);
	for (int descriptor = 0; descriptor < 4096; descriptor++)
		if (descriptor != keep && descriptor != 1)
			close(descriptor);
	if (open("/dev/null", O_RDWR) != 0)
		_exit(3);
	file = fopen(pid_path, "w");
	fprintf(file, "%d\n", getpid());
	fclose(file);
}

static void serve_in_child(int descriptor, int listener)
{
	if (fork() == 0) {
		close(listener);
		serve((void *)(intptr_t)descriptor);
		_exit(0);
	}
	close(descriptor);
}

static void serve_in_thread(int descriptor)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)descriptor) == 0)
		pthread_detach(thread);
}

/* Three more processes accept at the same listener, and end with the first. */
static void prefork(void)
{
	for (int number = 0; number < 3; number++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			return;
		}
}

static void serve_all(int listener, bool in_children)
{
	int descriptor;

	while ((descriptor = accept(listener, NULL, NULL)) >= 0 || errno == EINTR || errno == ECONNABORTED) {
		if (descriptor >= 0 && in_children)
			serve_in_child(descriptor, listener);
		else if (descriptor >= 0)
			serve_in_thread(descriptor);
	}
	wire_fail("accept");
}

int main(int argc, char **argv)
{
	bool before = argc == 4 && strcmp(argv[2], "daemon-before") == 0;
	bool after = argc == 4 && strcmp(argv[2], "daemon-after") == 0;
	int listener;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	if (before)
		become_daemon(-1, argv[3]);
	listener = listen_at(argc > 1 ? argv[1] : "127.0.0.1");
	if (after)
		become_daemon(listener, argv[3]);
	if (argc == 3 && strcmp(argv[2], "prefork") == 0)
		prefork();
	serve_all(listener, argc == 3 && strcmp(argv[2], "fork") == 0);
}
