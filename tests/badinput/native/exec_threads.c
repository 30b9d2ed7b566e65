/* exec by one thread while others send, receive, peek and poll on the same connection: `exec_threads first|other`, which
 * says whether it is the first thread.
 *
 * Two processes: the server sends a position-coded stream and checks the one that it gets; the client's threads do the same
 * until its first thread execs this program again, which goes on with the connection. A receive that is ended by exec may
 * have taken bytes with it, a send may be cut: the stream must go on from a place that this explains, without a gap. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "position.h"

#define DOWN_BYTES (24u << 20)
#define CHUNK_BYTES 20000
#define MARK_BYTES 64
#define UP_STREAM 5
#define DOWN_STREAM 6

static struct shared {
	_Atomic uint64_t received; /* by the client, complete */
	_Atomic uint64_t accepted; /* of what the client has sent */
} *shared;

static int connection;

static void must(int fine, const char *what)
{
	if (!fine) {
		printf("cannot %s: %s\n", what, strerror(errno));
		fflush(stdout);
		_exit(1);
	}
}

/* Turns, so that the connection is worth attaching before anything is in its way. */
static void warm_up(int begins)
{
	char byte = 0;

	for (int turn = 0; turn < 100; turn++) {
		if (begins || turn)
			must(send(connection, &byte, 1, MSG_NOSIGNAL) == 1, "send a turn");
		if (turn < 99 || !begins)
			must(recv(connection, &byte, 1, 0) == 1, "receive a turn");
	}
}

/* -- the server ------------------------------------------------------------------------------------------------------ */

static void *send_down(void *unused)
{
	static uint8_t buffer[CHUNK_BYTES + 16];
	uint64_t sent = 0;

	while (sent < DOWN_BYTES) {
		size_t bytes = DOWN_BYTES - sent < CHUNK_BYTES ? DOWN_BYTES - sent : CHUNK_BYTES;
		ssize_t step = send(connection, position_fill(buffer, DOWN_STREAM, sent, bytes), bytes, MSG_NOSIGNAL);

		must(step > 0, "send down");
		sent += (uint64_t)step;
	}
	shutdown(connection, SHUT_WR);
	return unused;
}

/* Everything up to the mark is the stream; the mark is the new image's. */
static void receive_up(void)
{
	size_t most = 1u << 30, total = 0;
	uint8_t *all = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t mark[MARK_BYTES];
	ssize_t got;
	int right = 1;

	must(all != MAP_FAILED, "mmap");
	while ((got = recv(connection, all + total, most - total < CHUNK_BYTES ? most - total : CHUNK_BYTES, 0)) > 0)
		total += (size_t)got;
	memset(mark, 0xff, sizeof(mark));
	right &= got == 0 && total >= MARK_BYTES && !memcmp(all + total - MARK_BYTES, mark, MARK_BYTES);
	total -= MARK_BYTES;
	for (size_t at = 0; at < total && right; at += CHUNK_BYTES)
		right &= position_mismatch(all + at, UP_STREAM, at, total - at < CHUNK_BYTES ? total - at : CHUNK_BYTES) < 0;
	right &= total >= shared->accepted && total <= shared->accepted + CHUNK_BYTES;
	printf("up: %s\n", right ? "right" : "wrong");
	if (!right)
		printf("%zu bytes, %llu accepted, last %zd\n", total, (unsigned long long)shared->accepted, got);
}

static void serve(int listener)
{
	pthread_t sender;

	must((connection = accept(listener, NULL, NULL)) >= 0, "accept");
	warm_up(0);
	must(!pthread_create(&sender, NULL, send_down, NULL), "make a thread");
	receive_up();
	pthread_join(sender, NULL);
	fflush(stdout);
	_exit(0);
}

/* -- the client, before ------------------------------------------------------------------------------------------------ */

static void *send_up(void *unused)
{
	static uint8_t buffer[CHUNK_BYTES + 16];

	for (;;) {
		uint64_t at = shared->accepted;
		ssize_t step = send(connection, position_fill(buffer, UP_STREAM, at, 5000), 5000, MSG_NOSIGNAL);

		must(step > 0, "send up");
		shared->accepted = at + (uint64_t)step;
	}
	return unused;
}

static void *receive_down(void *unused)
{
	static uint8_t buffer[CHUNK_BYTES];

	while (shared->received < DOWN_BYTES / 2) {
		uint64_t at = shared->received;
		ssize_t got = recv(connection, buffer, 1 + at % CHUNK_BYTES, 0);

		must(got > 0, "receive down");
		must(position_mismatch(buffer, DOWN_STREAM, at, (size_t)got) < 0, "find the stream right before exec");
		shared->received = at + (uint64_t)got;
	}
	pause();
	return unused;
}

static void *look(void *unused)
{
	char byte;

	for (unsigned round = 0;; round++) {
		struct pollfd entry = {.fd = connection, .events = POLLIN};

		if (round % 2)
			recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		else
			poll(&entry, 1, 0);
	}
	return unused;
}

static void run_threads(void)
{
	void *(*const what[])(void *) = {send_up, receive_down, look, look};
	pthread_t thread;

	for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++)
		must(!pthread_create(&thread, NULL, what[i], NULL), "make a thread");
}

/* -- the client, after -------------------------------------------------------------------------------------------------- */

static uint64_t position_of(const uint8_t *bytes)
{
	for (uint64_t lost = 0; lost <= CHUNK_BYTES; lost++)
		if (position_mismatch(bytes, DOWN_STREAM, shared->received + lost, MARK_BYTES) < 0)
			return shared->received + lost;
	return UINT64_MAX;
}

static void go_on(void)
{
	static uint8_t buffer[CHUNK_BYTES];
	uint64_t at;
	ssize_t got = recv(connection, buffer, MARK_BYTES, MSG_WAITALL);
	int right;

	must(got == MARK_BYTES, "receive after exec");
	at = position_of(buffer);
	right = at != UINT64_MAX;
	at += MARK_BYTES;
	while (right && (got = recv(connection, buffer, sizeof(buffer), 0)) > 0) {
		right &= position_mismatch(buffer, DOWN_STREAM, at, (size_t)got) < 0;
		at += (uint64_t)got;
	}
	printf("down: %s\n", right && got == 0 && at == DOWN_BYTES ? "right" : "wrong");
	if (!right || at != DOWN_BYTES)
		printf("at %lld, %llu received before, last %zd\n", (long long)at, (unsigned long long)shared->received, got);
	memset(buffer, 0xff, MARK_BYTES);
	must(send(connection, buffer, MARK_BYTES, MSG_NOSIGNAL) == MARK_BYTES, "send the mark");
	shutdown(connection, SHUT_WR);
}

static void share(int file)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(shared != MAP_FAILED, "mmap");
}

static int memory;

static void *become_after_a_while(void *unused)
{
	char descriptor[16], file[16];

	while (shared->received < DOWN_BYTES / 4)
		usleep(1000);
	snprintf(descriptor, sizeof(descriptor), "%d", connection);
	snprintf(file, sizeof(file), "%d", memory);
	execl("/proc/self/exe", "exec_threads", descriptor, file, NULL);
	must(0, "exec");
	return unused;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int listener, status;
	pthread_t other;

	if (argc > 2) {
		connection = atoi(argv[1]);
		share(atoi(argv[2]));
		go_on();
		must(wait(&status) > 0, "wait");
		return 0;
	}
	memory = (int)memfd_create("shared", 0);
	must(memory >= 0 && !ftruncate(memory, 4096), "make shared memory");
	share(memory);
	must((listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0, "socket");
	must(!bind(listener, (void *)&address, bytes) && !listen(listener, 1), "listen");
	must(!getsockname(listener, (void *)&address, &bytes), "getsockname");
	if (!fork())
		serve(listener);
	must((connection = socket(AF_INET, SOCK_STREAM, 0)) >= 0, "socket");
	must(!connect(connection, (void *)&address, bytes), "connect");
	warm_up(1);
	run_threads();
	if (strcmp(argv[1], "other"))
		become_after_a_while(NULL);
	must(!pthread_create(&other, NULL, become_after_a_while, NULL), "make a thread");
	look(NULL);
}
