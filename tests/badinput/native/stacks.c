/* Calls from a thread with as little stack as servers with many threads give: 64 KB. Each line is one case.
 * `stacks HOST PORT` (of peer.c). */
#define _GNU_SOURCE
#include "wire.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define STACK_BYTES 65536
#define FILE_BYTES 200000
#define PIECES 100

static const char *host, *port;

static void say(const char *name, long result)
{
	printf("%s: %ld\n", name, result);
	fflush(stdout);
}

static void receives(int fd)
{
	static char data[1000];
	struct iovec pieces[PIECES];
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	for (int i = 0; i < PIECES; i++)
		pieces[i] = (struct iovec){data + i * 10, 10};
	wire_ask(fd, WIRE_SEND, 1000, 20);
	say("peek", recv(fd, data, 500, MSG_PEEK | MSG_WAITALL));
	say("poll", poll(&entry, 1, 1000));
	say("recv", recv(fd, data, 500, MSG_WAITALL));
	say("readv", readv(fd, pieces, 50));
}

static void sends(int fd)
{
	static char data[1000];
	struct iovec pieces[PIECES];
	int file = memfd_create("file", 0);
	char answer;
	off_t at = 0;

	for (int i = 0; i < PIECES; i++)
		pieces[i] = (struct iovec){data + i * 10, 10};
	if (ftruncate(file, FILE_BYTES))
		wire_fail("ftruncate");
	wire_ask(fd, WIRE_SINK, FILE_BYTES + 1000, 0);
	for (long sent, left = FILE_BYTES; left; left -= sent)
		if ((sent = sendfile(fd, file, &at, (size_t)left)) <= 0)
			wire_fail("sendfile");
	say("writev", writev(fd, pieces, PIECES));
	say("answer", recv(fd, &answer, 1, 0));
	close(file);
}

static void *calls(void *argument)
{
	(void)argument;
	for (int round = 0; round < 3; round++) {
		int fd = wire_fresh(host, port);

		receives(fd);
		sends(fd);
		close(fd);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t attributes;
	pthread_t thread = 0;

	if (argc != 3)
		return 2;
	host = argv[1];
	port = argv[2];
	pthread_attr_init(&attributes);
	if (pthread_attr_setstacksize(&attributes, STACK_BYTES) || pthread_create(&thread, &attributes, calls, NULL))
		wire_fail("pthread_create");
	pthread_join(thread, NULL);
	return 0;
}
