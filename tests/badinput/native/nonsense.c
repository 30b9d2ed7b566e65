/* A peer that writes one chosen piece of nonsense into its channel, and what the victim then gets: a reset, and no byte that is
 * not of the ring. `nonsense tail|left|changes|claim`. The peer is a child of the victim's, forked before the connection. */
#define _GNU_SOURCE
#include "scribble.h"
#include "wire.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shm/layout.h"

#define WARM_TURNS 60
#define BYTES (8u << 20)
#define NO_THREAD 0x1ffffff /* an id above what Linux gives */

static char data[BYTES];

/* Channel 0 of the only pair there is; its ends are told apart by who sends in which direction. */
static struct shm_channel *channel(void)
{
	size_t bytes = 0;
	char *pair = scribble_map(&bytes);

	return pair ? (struct shm_channel *)(void *)(pair + (sizeof(struct shm_pair) + 63) / 64 * 64) : NULL;
}

static void warm(int descriptor, int first)
{
	char byte = 'x';

	for (int i = 0; i < WARM_TURNS; i++) {
		if (first)
			wire_send_all(descriptor, &byte, 1);
		wire_receive_all(descriptor, &byte, 1);
		if (!first)
			wire_send_all(descriptor, &byte, 1);
	}
}

/* Both directions, whichever is the victim's: a peer may write both. */
static void write_nonsense(struct shm_channel *of, const char *how)
{
	for (int i = 0; i < 2; i++) {
		struct shm_direction *direction = &of->direction[i];

		if (!strcmp(how, "tail"))
			direction->tail += 1u << 30;
		else if (!strcmp(how, "changes"))
			direction->change_count += 1000000;
		else { /* a sender that died taking back, and had published more than a ring holds */
			direction->head |= SHM_HEAD_TAKEN;
			direction->tail = (direction->tail + (1u << 30)) | SHM_TAIL_REVOKED | SHM_TAIL_NEVER;
			direction->change_count += direction->change_count & 1;
			direction->changes_taken = direction->change_count;
		}
	}
}

/* A take-back under way by a thread that is not there, and ends that say they are of other processes. */
static void write_claim(struct shm_channel *of)
{
	struct shm_pair *pair = (struct shm_pair *)(void *)((char *)of - (sizeof(struct shm_pair) + 63) / 64 * 64);

	for (int i = 0; i < 2; i++) {
		pair->ends[i].process = NO_THREAD;
		of->direction[i].resend_wanted = SHM_CLAIM_HELD | SHM_CLAIM_MOVING | NO_THREAD << SHM_CLAIM_SHIFT;
	}
}

static void evil(int descriptor, const char *how, int go, int done)
{
	struct shm_channel *found;
	char byte = 0;

	warm(descriptor, 1);
	found = channel();
	if (!found)
		_exit(9);
	read(go, &byte, 1);
	if (!strcmp(how, "claim"))
		write_claim(found);
	else
		write_nonsense(found, how);
	if (!strcmp(how, "left"))
		syscall(SYS_shutdown, descriptor, SHUT_WR);
	write(done, &byte, 1);
	sleep(20);
	_exit(0);
}

static void say(const char *what, ssize_t result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %zd\n", what, result);
	fflush(stdout);
}

int main(int count, char **arguments)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), go[2], done[2], descriptor;
	char byte = 0;
	pid_t child;

	if (count < 2 || pipe(go) || pipe(done) || bind(listener, (struct sockaddr *)&address, bytes) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&address, &bytes))
		wire_fail("start");
	signal(SIGPIPE, SIG_IGN);
	alarm(20);
	child = fork();
	if (!child) {
		descriptor = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(descriptor, (struct sockaddr *)&address, bytes))
			wire_fail("connect");
		evil(descriptor, arguments[1], go[0], done[1]);
	}
	descriptor = accept(listener, NULL, NULL);
	warm(descriptor, 0);
	if (!channel()) {
		printf("no ring\n");
		kill(child, SIGKILL);
		return 0;
	}
	write(go[1], &byte, 1);
	read(done[0], &byte, 1);
	if (!strcmp(arguments[1], "changes"))
		say("peek", recv(descriptor, data, BYTES, MSG_PEEK | MSG_DONTWAIT));
	if (!strcmp(arguments[1], "tail") || !strcmp(arguments[1], "claim"))
		say("send", send(descriptor, data, BYTES, MSG_DONTWAIT));
	for (int i = 0; i < 4; i++)
		say("recv", recv(descriptor, data, BYTES, MSG_DONTWAIT));
	say("send", send(descriptor, data, 1, MSG_DONTWAIT));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
