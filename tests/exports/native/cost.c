/* Makes each interposed call that has a single descriptor CALLS times on one that is not Byway's, under callgrind, and has
 * callgrind write down the instructions of each under its name. Called by test_call_cost.py, with and without the library.
 *
 * A case is what to do before, the call in its turn `i`, and what to do afterwards; only the calls are counted. Every
 * case is run twice: the first time finds libc's functions. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#define CALLS 16 /* as many as a pipe takes from a file */
#define BYTES 8

/* libc's other names, which no header declares */
ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes);
ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes, int flags, struct sockaddr *address,
                       socklen_t *address_bytes);
ssize_t __read(int fd, void *buffer, size_t bytes);
ssize_t __write(int fd, const void *buffer, size_t bytes);
ssize_t __send(int fd, const void *buffer, size_t bytes, int flags);
int __close(int fd);
int __dup2(int old, int wanted);
int __fcntl(int fd, int command, ...);
int __poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t bytes);

static char buffer[CALLS * BYTES];
static struct iovec piece = {buffer, BYTES};
static struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
static struct mmsghdr messages = {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}};
static struct sockaddr_un name = {.sun_family = AF_UNIX};
static const struct timespec no_time;
static const socklen_t name_bytes = sizeof(sa_family_t) + 16;

static int ends[2]; /* of a pipe or of a socket pair */
static int made[CALLS];
static int accepted[CALLS];
static int file, listener;

static void must(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void with_pipe(void)
{
	must(!pipe(ends), "pipe");
}
static void with_full_pipe(void)
{
	with_pipe();
	must(write(ends[1], buffer, sizeof(buffer)) == sizeof(buffer), "write");
}
static void with_sockets(void)
{
	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
}
static void with_full_sockets(void)
{
	with_sockets();
	must(write(ends[1], buffer, sizeof(buffer)) == sizeof(buffer), "write");
}
static void done(void)
{
	close(ends[0]);
	close(ends[1]);
}
static void done_with_made(void)
{
	for (int i = 0; i < CALLS; i++)
		close(made[i]);
}
static void made_and_done(void)
{
	done_with_made();
	done();
}
static void with_many(void)
{
	with_pipe();
	for (int i = 0; i < CALLS; i++)
		must((made[i] = dup(ends[0])) >= 0, "dup");
}
static void with_file(void)
{
	with_pipe();
	must((file = memfd_create("cost", 0)) >= 0, "memfd_create");
	must(write(file, buffer, sizeof(buffer)) == sizeof(buffer), "write");
	must(lseek(file, 0, SEEK_SET) == 0, "lseek");
}
static void done_with_file(void)
{
	close(file);
	done();
}
static void with_listener(void)
{
	snprintf(name.sun_path + 1, 15, "cost%d", getpid());
	must((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0, "socket");
	must(!bind(listener, (struct sockaddr *)&name, name_bytes) && !listen(listener, CALLS), "listen");
	for (int i = 0; i < CALLS; i++) {
		must((made[i] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0, "socket");
		must(!connect(made[i], (struct sockaddr *)&name, name_bytes), "connect");
	}
}
/* The first connection of a listener that nobody saw being made tells what it is. */
static void with_known_listener(void)
{
	with_listener();
	close(accept(listener, NULL, NULL));
	close(made[0]);
	must((made[0] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0, "socket");
	must(!connect(made[0], (struct sockaddr *)&name, name_bytes), "connect");
}
static void with_unconnected(void)
{
	with_listener();
	done_with_made();
	for (int i = 0; i < CALLS; i++)
		must((made[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0, "socket");
}
static void done_with_listener(void)
{
	done_with_made();
	close(listener);
}
static void done_with_accepted(void)
{
	for (int i = 0; i < CALLS; i++)
		close(accepted[i]);
	done_with_listener();
}
static void nothing(void) {}

#define CASE(name, before, call, after) \
	for (int pass = 0; pass < 2; pass++) { \
		before(); \
		CALLGRIND_ZERO_STATS; \
		for (int i = 0; i < CALLS; i++) { \
			call; \
		} \
		CALLGRIND_DUMP_STATS_AT(name); \
		after(); \
	}

#define READ_FROM ends[0]
#define WRITE_TO ends[1]

static void data_out(void)
{
	ssize_t sent;

	CASE("write", with_pipe, sent = write(WRITE_TO, buffer, BYTES), done)
	CASE("__write", with_pipe, sent = __write(WRITE_TO, buffer, BYTES), done)
	CASE("writev", with_pipe, sent = writev(WRITE_TO, &piece, 1), done)
	CASE("pwritev2", with_pipe, sent = pwritev2(WRITE_TO, &piece, 1, -1, 0), done)
	CASE("pwritev64v2", with_pipe, sent = pwritev64v2(WRITE_TO, &piece, 1, -1, 0), done)
	CASE("send", with_sockets, sent = send(WRITE_TO, buffer, BYTES, 0), done)
	CASE("__send", with_sockets, sent = __send(WRITE_TO, buffer, BYTES, 0), done)
	CASE("sendto", with_sockets, sent = sendto(WRITE_TO, buffer, BYTES, 0, NULL, 0), done)
	CASE("sendmsg", with_sockets, sent = sendmsg(WRITE_TO, &message, 0), done)
	CASE("sendfile", with_file, sent = sendfile(WRITE_TO, file, NULL, BYTES), done_with_file)
	CASE("sendfile64", with_file, sent = sendfile64(WRITE_TO, file, NULL, BYTES), done_with_file)
	CASE("dprintf", with_pipe, sent = dprintf(WRITE_TO, "x"), done)(void) sent;
}

static void data_in(void)
{
	ssize_t received;

	CASE("read", with_full_pipe, received = read(READ_FROM, buffer, BYTES), done)
	CASE("__read", with_full_pipe, received = __read(READ_FROM, buffer, BYTES), done)
	CASE("__read_chk", with_full_pipe, received = __read_chk(READ_FROM, buffer, BYTES, BYTES), done)
	CASE("readv", with_full_pipe, received = readv(READ_FROM, &piece, 1), done)
	CASE("preadv2", with_full_pipe, received = preadv2(READ_FROM, &piece, 1, -1, 0), done)
	CASE("preadv64v2", with_full_pipe, received = preadv64v2(READ_FROM, &piece, 1, -1, 0), done)
	CASE("recv", with_full_sockets, received = recv(READ_FROM, buffer, BYTES, 0), done)
	CASE("__recv_chk", with_full_sockets, received = __recv_chk(READ_FROM, buffer, BYTES, BYTES, 0), done)
	CASE("recvfrom", with_full_sockets, received = recvfrom(READ_FROM, buffer, BYTES, 0, NULL, NULL), done)
	CASE("__recvfrom_chk", with_full_sockets, received = __recvfrom_chk(READ_FROM, buffer, BYTES, BYTES, 0, NULL, NULL),
	     done)
	CASE("recvmsg", with_full_sockets, received = recvmsg(READ_FROM, &message, 0), done)
	CASE("recvmmsg", with_full_sockets, received = recvmmsg(READ_FROM, &messages, 1, 0, NULL), done)(void) received;
}

static void sockets(void)
{
	int value = 0;
	socklen_t bytes = sizeof(value);

	CASE("socket", nothing, made[i] = socket(AF_UNIX, SOCK_STREAM, 0), done_with_made)
	CASE("connect", with_unconnected, connect(made[i], (struct sockaddr *)&name, name_bytes), done_with_listener)
	CASE("listen", with_listener, listen(listener, CALLS), done_with_listener)
	CASE("accept", with_known_listener, accepted[i] = accept(listener, NULL, NULL), done_with_accepted)
	CASE("accept4", with_known_listener, accepted[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC), done_with_accepted)
	CASE("shutdown", with_sockets, shutdown(READ_FROM, SHUT_WR), done)
	CASE("getpeername", with_sockets, getpeername(READ_FROM, NULL, NULL), done)
	CASE("getsockopt", with_sockets, getsockopt(READ_FROM, SOL_SOCKET, SO_ERROR, &value, &bytes), done)
	CASE("setsockopt", with_sockets, setsockopt(READ_FROM, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)), done)
}

static void descriptors(void)
{
	int waiting;

	CASE("close", with_many, close(made[i]), done)
	CASE("__close", with_many, __close(made[i]), done)
	CASE("dup", with_pipe, made[i] = dup(READ_FROM), made_and_done)
	CASE("dup2", with_many, dup2(READ_FROM, made[i]), made_and_done)
	CASE("__dup2", with_many, __dup2(READ_FROM, made[i]), made_and_done)
	CASE("dup3", with_many, dup3(READ_FROM, made[i], O_CLOEXEC), made_and_done)
	CASE("fcntl", with_pipe, fcntl(READ_FROM, F_SETFL, O_NONBLOCK), done)
	CASE("fcntl64", with_pipe, fcntl64(READ_FROM, F_SETFL, O_NONBLOCK), done)
	CASE("__fcntl", with_pipe, __fcntl(READ_FROM, F_SETFL, O_NONBLOCK), done)
	CASE("sockatmark", with_sockets, sockatmark(READ_FROM), done)
	CASE("ioctl", with_full_pipe, ioctl(READ_FROM, FIONREAD, &waiting), done)
	CASE("syscall", with_full_pipe, syscall(SYS_read, READ_FROM, buffer, BYTES), done)
	CASE("syscall of another call", nothing, syscall(SYS_getppid), nothing)
}

static FILE *streams[CALLS];

static void done_with_streams(void)
{
	for (int i = 0; i < CALLS; i++)
		fclose(streams[i]);
	done();
}

static void stdio(void)
{
	CASE("fdopen", with_many, streams[i] = fdopen(made[i], "r"), done_with_streams)
}

static int set;
static struct epoll_event event = {.events = EPOLLIN};

static void with_set(void)
{
	with_full_pipe();
	must((set = epoll_create1(0)) >= 0 && !epoll_ctl(set, EPOLL_CTL_ADD, READ_FROM, &event), "epoll");
}
static void done_with_set(void)
{
	close(set);
	done();
}

static void waits(void)
{
	struct pollfd one = {.events = POLLIN};
	struct epoll_event found;

	CASE("poll", with_full_pipe, one.fd = READ_FROM; poll(&one, 1, 0), done)
	CASE("__poll", with_full_pipe, one.fd = READ_FROM; __poll(&one, 1, 0), done)
	CASE("__poll_chk", with_full_pipe, one.fd = READ_FROM; __poll_chk(&one, 1, 0, sizeof(one)), done)
	CASE("ppoll", with_full_pipe, one.fd = READ_FROM; ppoll(&one, 1, &no_time, NULL), done)
	CASE("__ppoll_chk", with_full_pipe, one.fd = READ_FROM; __ppoll_chk(&one, 1, &no_time, NULL, sizeof(one)), done)
	CASE("epoll_ctl", with_set, epoll_ctl(set, EPOLL_CTL_MOD, READ_FROM, &event), done_with_set)
	CASE("epoll_wait", with_pipe, epoll_wait(READ_FROM, &found, 1, 0), done)
	CASE("epoll_pwait", with_pipe, epoll_pwait(READ_FROM, &found, 1, 0, NULL), done)
	CASE("epoll_pwait2", with_pipe, epoll_pwait2(READ_FROM, &found, 1, &no_time, NULL), done)
}

int main(void)
{
	data_out();
	data_in();
	sockets();
	descriptors();
	stdio();
	waits();
	return 0;
}
