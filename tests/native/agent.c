/* One end of one connection, told what to do by its arguments, a step each: `agent progress:P listen:127.0.0.1 accept pong:3 drain`.
 *
 * Used by tests/crash (endings) and tests/badinput. An agent prints one line for what a program would have observed at a step
 * ("drain end", "send errno EPIPE"), and keeps what it sent and received in a small shared file (`progress`), so that the
 * test knows it even if the agent is killed. All bytes are position-coded (position.h); a wrong byte prints "mismatch".
 * Steps that wait for another process read a byte from an inherited pipe (`wait:FD`), so tests need no sleeps. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "position.h"
#include "scribble.h"

#define PING_BYTES 64
#define STEPS_MAX 256

/* Bytes [0, accepted) were taken by send(); send() was called for no byte at or above attempted. */
struct progress {
	_Atomic uint64_t attempted;
	_Atomic uint64_t accepted;
	_Atomic uint64_t received;
};

enum wait_mode {
	WAIT_BLOCK,
	WAIT_POLL,
	WAIT_SELECT,
	WAIT_EPOLL,
	WAIT_EPOLL_EDGE
};

static const char *const wait_mode_names[] = {"block", "poll", "select", "epoll", "epollet"};

static struct {
	struct progress *progress;
	const char *progress_path;
	int descriptor;
	int listener;
	int epoll;
	uint64_t stream_out;
	uint64_t stream_in;
	enum wait_mode send_mode;
	enum wait_mode receive_mode;
	size_t chunk_bytes;
	size_t slow_chunk_bytes;
	unsigned slow_pause_us;
	int send_flags;
	unsigned pause_us;
	uint64_t pause_state;
	char image_way; /* how exec finds its file: v(e), p(ath), f(d), a(t), s(yscall) */
	const char *image;
} agent = {.descriptor = -1,
           .listener = -1,
           .epoll = -1,
           .stream_out = 1,
           .stream_in = 2,
           .chunk_bytes = 65536,
           .send_flags = MSG_NOSIGNAL,
           .image_way = 'v',
           .image = "/proc/self/exe"};

static uint8_t buffer[POSITION_CHUNK_MAX + 16];

static void say(const char *step, const char *what)
{
	char line[256];
	int bytes = snprintf(line, sizeof(line), "%s %s\n", step, what);

	if (write(1, line, (size_t)bytes) != bytes)
		_exit(70);
}

static void say_errno(const char *step, int error)
{
	char text[64];

	snprintf(text, sizeof(text), "errno %s", error ? strerrorname_np(error) : "0");
	say(step, text);
}

static void must(bool fine, const char *what)
{
	if (fine)
		return;
	say("agent cannot", what);
	say_errno("agent", errno);
	_exit(71);
}

static uint64_t number(const char *text)
{
	char *end = NULL;
	uint64_t value = strtoull(text, &end, 0);

	must(end && end != text, text);
	return value;
}

static enum wait_mode mode_named(const char *name)
{
	for (int mode = WAIT_BLOCK; mode <= WAIT_EPOLL_EDGE; mode++)
		if (strcmp(name, wait_mode_names[mode]) == 0)
			return (enum wait_mode)mode;
	must(false, name);
	return WAIT_BLOCK;
}

/* -- waiting -------------------------------------------------------------------------------------------------------- */

static void wait_select(bool for_read)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(agent.descriptor, &set);
	must(select(agent.descriptor + 1, for_read ? &set : NULL, for_read ? NULL : &set, NULL, NULL) == 1, "select");
}

static void wait_epoll(bool for_read, bool edge)
{
	struct epoll_event event = {.events = for_read ? EPOLLIN | EPOLLRDHUP : EPOLLOUT};

	if (agent.epoll < 0)
		must((agent.epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0, "epoll_create1");
	if (edge)
		event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	if (epoll_ctl(agent.epoll, EPOLL_CTL_ADD, agent.descriptor, &event) && errno == EEXIST && !edge)
		epoll_ctl(agent.epoll, EPOLL_CTL_MOD, agent.descriptor, &event);
	must(epoll_wait(agent.epoll, &event, 1, -1) == 1, "epoll_wait");
}

static void wait_ready(enum wait_mode mode, bool for_read)
{
	struct pollfd entry = {.fd = agent.descriptor, .events = for_read ? POLLIN | POLLRDHUP : POLLOUT};

	if (mode == WAIT_POLL)
		must(poll(&entry, 1, -1) == 1, "poll");
	else if (mode == WAIT_SELECT)
		wait_select(for_read);
	else
		wait_epoll(for_read, mode == WAIT_EPOLL_EDGE);
}

/* What a scheduler may do to any program: now and then some time goes by between two of its calls. */
static void pause_now_and_then(void)
{
	if (!agent.pause_us)
		return;
	agent.pause_state = agent.pause_state * 6364136223846793005u + 1442695040888963407u;
	if (agent.pause_state >> 61 == 0)
		usleep((useconds_t)((agent.pause_state >> 32) % agent.pause_us));
}

/* -- bytes ---------------------------------------------------------------------------------------------------------- */

static ssize_t send_once(size_t bytes, int flags)
{
	uint64_t offset = agent.progress->accepted;
	uint8_t *from = position_fill(buffer, agent.stream_out, offset, bytes);
	ssize_t sent;

	if (agent.progress->attempted < offset + bytes)
		agent.progress->attempted = offset + bytes;
	pause_now_and_then();
	sent = send(agent.descriptor, from, bytes, agent.send_flags | flags);
	if (sent > 0)
		agent.progress->accepted += (uint64_t)sent;
	return sent;
}

static size_t smaller(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

static bool step_send(uint64_t total_bytes, const char *step)
{
	uint64_t left = total_bytes;

	while (left > 0) {
		int flags = agent.send_mode == WAIT_BLOCK ? 0 : MSG_DONTWAIT;
		ssize_t sent = send_once(smaller(left, agent.chunk_bytes), flags);

		if (sent >= 0)
			left -= (uint64_t)sent;
		else if (errno == EAGAIN && flags)
			wait_ready(agent.send_mode, false);
		else if (errno != EINTR)
			return say_errno(step, errno), false;
	}
	return true;
}

static void step_fill(void)
{
	for (int round = 0; round < 3; round++) {
		while (send_once(agent.chunk_bytes, MSG_DONTWAIT) > 0)
			;
		if (errno != EAGAIN)
			break;
		poll(NULL, 0, 5);
	}
	say_errno("fill", errno);
}

/* > 0 bytes taken and right, 0 end, < 0 error in errno. */
static ssize_t receive_once(size_t bytes)
{
	int flags = agent.receive_mode == WAIT_BLOCK ? 0 : MSG_DONTWAIT;
	uint64_t offset = agent.progress->received;
	ssize_t got;
	int64_t wrong;

	pause_now_and_then();
	while ((got = recv(agent.descriptor, buffer, bytes, flags)) < 0 && (errno == EINTR || (flags && errno == EAGAIN)))
		if (errno == EAGAIN)
			wait_ready(agent.receive_mode, true);
	if (got <= 0)
		return got;
	wrong = position_mismatch(buffer, agent.stream_in, offset, (size_t)got);
	agent.progress->received += (uint64_t)got;
	if (wrong >= 0) {
		char text[80];
		snprintf(text, sizeof(text), "at %" PRIu64 ", recv gave %zd at %" PRIu64, offset + (uint64_t)wrong, got,
		         offset);
		say("mismatch", text);
		_exit(72);
	}
	return got;
}

static bool step_receive(uint64_t total_bytes, const char *step)
{
	uint64_t left = total_bytes;
	size_t chunk_bytes = agent.slow_chunk_bytes ? agent.slow_chunk_bytes : agent.chunk_bytes;

	while (left > 0) {
		ssize_t got = receive_once(smaller(left, chunk_bytes));

		if (got < 0)
			return say_errno(step, errno), false;
		if (got == 0)
			return say(step, "end"), false;
		left -= (uint64_t)got;
		if (agent.slow_chunk_bytes)
			usleep(agent.slow_pause_us);
	}
	return true;
}

static void step_ping(uint64_t turns)
{
	for (uint64_t turn = 0; turn < turns; turn++)
		if (!step_send(PING_BYTES, "ping") || !step_receive(PING_BYTES, "ping"))
			return;
}

static void step_pong(uint64_t turns)
{
	for (uint64_t turn = 0; turn < turns; turn++)
		if (!step_receive(PING_BYTES, "pong") || !step_send(PING_BYTES, "pong"))
			return;
}

/* Sends and receives at once, until `total_bytes` went each way, or the first end or error. */
static void step_duplex(uint64_t total_bytes)
{
	uint64_t send_left = total_bytes;
	uint64_t receive_left = total_bytes;

	while (send_left || receive_left) {
		struct pollfd entry = {.fd = agent.descriptor};
		entry.events = (short)((send_left ? POLLOUT : 0) | (receive_left ? POLLIN : 0));
		must(poll(&entry, 1, -1) == 1, "poll");
		if (receive_left && entry.revents & (POLLIN | POLLHUP | POLLERR)) {
			ssize_t got = receive_once(smaller(receive_left, agent.chunk_bytes));
			if (got < 0)
				return say_errno("duplex recv", errno);
			if (got == 0)
				return say("duplex recv", "end");
			receive_left -= (uint64_t)got;
		}
		if (send_left && entry.revents & POLLOUT) {
			ssize_t sent = send_once(smaller(send_left, agent.chunk_bytes), MSG_DONTWAIT);
			if (sent < 0 && errno != EAGAIN)
				return say_errno("duplex send", errno);
			if (sent > 0)
				send_left -= (uint64_t)sent;
		}
	}
	say("duplex", "done");
}

/* -- connecting ----------------------------------------------------------------------------------------------------- */

static socklen_t address_of(const char *host, uint16_t port, struct sockaddr_storage *address)
{
	struct sockaddr_in6 *six = (void *)address;
	struct sockaddr_in *four = (void *)address;

	memset(address, 0, sizeof(*address));
	if (strchr(host, ':')) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		must(inet_pton(AF_INET6, host, &six->sin6_addr) == 1, host);
		return sizeof(*six);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(port);
	must(inet_pton(AF_INET, host, &four->sin_addr) == 1, host);
	return sizeof(*four);
}

static void step_listen(const char *host)
{
	struct sockaddr_storage address;
	socklen_t bytes = address_of(host, 0, &address);
	char text[32];

	must((agent.listener = socket(address.ss_family, SOCK_STREAM, 0)) >= 0, "socket");
	must(bind(agent.listener, (void *)&address, bytes) == 0, "bind");
	must(listen(agent.listener, 16) == 0, "listen");
	must(getsockname(agent.listener, (void *)&address, &bytes) == 0, "getsockname");
	snprintf(text, sizeof(text), "%u", ntohs(((struct sockaddr_in *)&address)->sin_port));
	say("port", text);
}

static void step_accept(void)
{
	must((agent.descriptor = accept(agent.listener, NULL, NULL)) >= 0, "accept");
	close(agent.listener);
	agent.listener = -1;
}

static void step_connect(char *where)
{
	struct sockaddr_storage address;
	char *colon = strrchr(where, ':');
	socklen_t bytes;

	must(colon != NULL, where);
	*colon = 0;
	bytes = address_of(where, (uint16_t)number(colon + 1), &address);
	*colon = ':';
	must((agent.descriptor = socket(address.ss_family, SOCK_STREAM, 0)) >= 0, "socket");
	must(connect(agent.descriptor, (void *)&address, bytes) == 0, "connect");
}

/* -- other steps ---------------------------------------------------------------------------------------------------- */

static void step_progress(const char *path)
{
	int file = open(path, O_RDWR | O_CLOEXEC);

	must(file >= 0 && ftruncate(file, 4096) == 0, path);
	agent.progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(agent.progress != MAP_FAILED, "mmap");
	agent.progress_path = path;
	close(file);
}

static void step_wait(int pipe_descriptor)
{
	char byte;

	while (read(pipe_descriptor, &byte, 1) < 0 && errno == EINTR)
		;
}

static void step_error(void)
{
	int error = -1;
	socklen_t bytes = sizeof(error);

	must(getsockopt(agent.descriptor, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0, "SO_ERROR");
	say_errno("error", error);
}

static void step_state(void)
{
	struct pollfd entry = {.fd = agent.descriptor, .events = POLLIN | POLLRDHUP | POLLPRI};
	char text[64];

	must(poll(&entry, 1, 0) >= 0, "poll");
	snprintf(text, sizeof(text), "%s%s%s%s%s", entry.revents & POLLIN ? "IN " : "",
	         entry.revents & POLLPRI ? "PRI " : "", entry.revents & POLLRDHUP ? "RDHUP " : "",
	         entry.revents & POLLHUP ? "HUP " : "", entry.revents & POLLERR ? "ERR " : "");
	say("state", text);
}

/* Waits until the socket shows one of the ends: what has arrived by then does not depend on speed. */
static void step_settle(void)
{
	struct pollfd entry = {.fd = agent.descriptor, .events = POLLRDHUP};

	poll(&entry, 1, 10000);
}

static void step_linger0(void)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	must(setsockopt(agent.descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0, "SO_LINGER");
}

/* As in containers that do not allow it: nobody's descriptors can be copied from here. */
static void step_deny_getfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

static void step_nodelay(void)
{
	int one = 1;

	must(setsockopt(agent.descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0, "TCP_NODELAY");
}

static void step_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t bytes = sizeof(cookie);
	char text[32];

	must(getsockopt(agent.descriptor, SOL_SOCKET, SO_COOKIE, &cookie, &bytes) == 0, "SO_COOKIE");
	snprintf(text, sizeof(text), "%" PRIx64, cookie);
	say("cookie", text);
}

static void step_oob(void)
{
	must(send(agent.descriptor, "!", 1, MSG_OOB) == 1, "MSG_OOB");
}

/* Waits for out-of-band data, and says what it is. */
static void step_recv_oob(void)
{
	struct pollfd entry = {.fd = agent.descriptor, .events = POLLPRI};
	char text[2] = "?";

	must(poll(&entry, 1, 10000) == 1, "POLLPRI");
	must(recv(agent.descriptor, text, 1, MSG_OOB) == 1, "recv MSG_OOB");
	say("oob", text);
}

static void step_closeall(const char *how)
{
	int keep = agent.descriptor;

	if (strcmp(how, "range") == 0) {
		if (keep > 3)
			close_range(3, (unsigned)keep - 1, 0);
		close_range(keep < 3 ? 3 : (unsigned)keep + 1, ~0U, 0);
	} else if (strcmp(how, "closefrom") == 0) {
		closefrom(keep < 3 ? 3 : keep + 1);
	} else {
		long limit = sysconf(_SC_OPEN_MAX);
		for (int descriptor = 3; descriptor < (limit > 65536 ? 65536 : limit); descriptor++)
			if (descriptor != keep)
				close(descriptor);
	}
	agent.epoll = -1;
}

static void step_scribble(uint64_t seed)
{
	say("scribble", scribble(seed) ? "done" : "nothing");
}

static char **run_steps(char **step);

static pid_t last_child;

static char **step_fork(char **step)
{
	int depth = 1;
	char **after = step;

	for (; depth > 0; after++) {
		must(*after != NULL, "end");
		depth += strcmp(*after, "fork") == 0;
		depth -= strcmp(*after, "end") == 0;
	}
	last_child = fork();
	must(last_child >= 0, "fork");
	if (last_child == 0) {
		run_steps(step);
		_exit(0);
	}
	return after;
}

static void step_reap(void)
{
	int status;
	char text[32];

	must(waitpid(last_child, &status, 0) == last_child, "waitpid");
	snprintf(text, sizeof(text), "%d", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	say("child", text);
}

static void exec_image(char **arguments)
{
	if (agent.image_way == 'p')
		execvp(agent.image, arguments);
	else if (agent.image_way == 'f')
		fexecve(open(agent.image, O_RDONLY | O_CLOEXEC), arguments, environ);
	else if (agent.image_way == 's')
		syscall(SYS_execveat, AT_FDCWD, agent.image, arguments, environ, 0);
	else if (agent.image_way == 'a')
		execveat(AT_FDCWD, agent.image, arguments, environ, 0);
	else
		execv(agent.image, arguments);
}

/* Becomes the same program again, with `first` (it gets hold of the socket) and the steps that are left. */
static void become(const char *first, bool foreign, char **left)
{
	static char text[8][64];
	static char progress[4200];
	char *arguments[STEPS_MAX];
	int count = 0;

	snprintf(progress, sizeof(progress), "progress:%s", agent.progress_path);
	snprintf(text[0], 64, "%s", first);
	snprintf(text[1], 64, "streams:%" PRIu64 ":%" PRIu64, agent.stream_out, agent.stream_in);
	snprintf(text[2], 64, "chunk:%zu", agent.chunk_bytes);
	snprintf(text[3], 64, "send-mode:%s", wait_mode_names[agent.send_mode]);
	snprintf(text[4], 64, "recv-mode:%s", wait_mode_names[agent.receive_mode]);
	arguments[count++] = "agent";
	arguments[count++] = progress;
	for (int index = 0; index < 5; index++)
		arguments[count++] = text[index];
	while (*left && count < STEPS_MAX - 1)
		arguments[count++] = *left++;
	arguments[count] = NULL;
	if (foreign)
		unsetenv("LD_PRELOAD");
	exec_image(arguments);
	must(false, "exec");
}

/* An exec that cannot be: there is no such file, or the arguments are too long. */
static void step_fail_exec(const char *how)
{
	static char long_text[1 << 18];
	char *arguments[] = {"agent", "exit", NULL};

	memset(long_text, 'x', sizeof(long_text) - 1);
	if (strcmp(how, "long") == 0)
		arguments[1] = long_text;
	else if (strcmp(how, "missing") == 0)
		agent.image = "/nowhere/agent";
	exec_image(arguments);
	say_errno("exec", errno);
	agent.image = "/proc/self/exe";
}

/* Becomes a program that has not asked for the socket: PATH, or `sh -c COMMAND`. */
static void step_become(const char *what)
{
	if (*what == '/')
		execl(what, what, NULL);
	else
		execl("/bin/sh", "sh", "-c", what, NULL);
	must(false, what);
}

static void step_move(int descriptor)
{
	must(dup2(agent.descriptor, descriptor) == descriptor, "dup2");
	close(agent.descriptor);
	agent.descriptor = descriptor;
}

static void step_exec(int descriptor, bool foreign, char **left)
{
	char first[32];

	if (descriptor != agent.descriptor)
		step_move(descriptor);
	snprintf(first, sizeof(first), "fd:%d", descriptor);
	become(first, foreign, left);
}

/* Ends as the program ends that has gone on with our steps. */
static void end_as(pid_t child)
{
	int status;

	must(waitpid(child, &status, 0) == child, "waitpid");
	if (WIFSIGNALED(status))
		kill(getpid(), WTERMSIG(status));
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 73);
}

/* A vfork child becomes a foreign program with the socket at `descriptor`, and goes on; we close ours and wait. */
static void step_vfork_foreign(int descriptor, char **left)
{
	char first[32];
	pid_t child;

	snprintf(first, sizeof(first), "fd:%d", descriptor);
	fcntl(agent.descriptor, F_SETFD, FD_CLOEXEC);
	child = vfork();
	must(child >= 0, "vfork");
	if (child == 0) {
		dup2(agent.descriptor, descriptor);
		become(first, true, left);
	}
	close(agent.descriptor);
	end_as(child);
}

/* A message of one byte with room for one descriptor. Filled by passing_begin; it points into itself. */
struct passing {
	char byte;
	struct iovec piece;
	struct msghdr message;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
};

static void passing_begin(struct passing *passing)
{
	*passing = (struct passing){.byte = '!'};
	passing->piece = (struct iovec){&passing->byte, 1};
	passing->message = (struct msghdr){.msg_iov = &passing->piece,
	                                   .msg_iovlen = 1,
	                                   .msg_control = passing->control.bytes,
	                                   .msg_controllen = sizeof(passing->control)};
}

static void pass_descriptor(int way, int descriptor)
{
	struct passing passing;
	struct cmsghdr *head;

	passing_begin(&passing);
	head = CMSG_FIRSTHDR(&passing.message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &descriptor, sizeof(descriptor));
	must(sendmsg(way, &passing.message, 0) == 1, "sendmsg");
}

/* `fd-from:N`: the socket comes in a message on descriptor N. */
static void step_fd_from(int way)
{
	struct passing passing;

	passing_begin(&passing);
	must(recvmsg(way, &passing.message, 0) == 1 && CMSG_FIRSTHDR(&passing.message), "recvmsg");
	memcpy(&agent.descriptor, CMSG_DATA(CMSG_FIRSTHDR(&passing.message)), sizeof(agent.descriptor));
	close(way);
}

/* A foreign program gets the socket in a message and goes on; we close ours and wait. */
static void step_pass_foreign(char **left)
{
	char first[32];
	int ways[2];
	pid_t child;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ways) == 0, "socketpair");
	fcntl(ways[0], F_SETFD, FD_CLOEXEC);
	fcntl(agent.descriptor, F_SETFD, FD_CLOEXEC);
	snprintf(first, sizeof(first), "fd-from:%d", ways[1]);
	child = fork();
	must(child >= 0, "fork");
	if (child == 0)
		become(first, true, left);
	close(ways[1]);
	pass_descriptor(ways[0], agent.descriptor);
	close(agent.descriptor);
	end_as(child);
}

static void step_set(const char *name, char *value)
{
	if (strcmp(name, "streams") == 0) {
		char *rest;
		agent.stream_out = strtoull(value, &rest, 0);
		agent.stream_in = number(rest + 1);
	} else if (strcmp(name, "slow") == 0) {
		char *rest;
		agent.slow_chunk_bytes = smaller(strtoull(value, &rest, 0), POSITION_CHUNK_MAX);
		agent.slow_pause_us = (unsigned)number(rest + 1);
	} else if (strcmp(name, "pause") == 0) {
		char *rest;
		agent.pause_us = (unsigned)strtoull(value, &rest, 0);
		agent.pause_state = number(rest + 1);
	} else if (strcmp(name, "chunk") == 0) {
		agent.chunk_bytes = smaller(number(value), POSITION_CHUNK_MAX);
	} else if (strcmp(name, "send-mode") == 0) {
		agent.send_mode = mode_named(value);
	} else if (strcmp(name, "recv-mode") == 0) {
		agent.receive_mode = mode_named(value);
	} else if (strcmp(name, "image") == 0) { /* WAY:PATH */
		agent.image_way = value[0];
		agent.image = value + 2;
	} else if (strcmp(name, "fd") == 0) {
		agent.descriptor = (int)number(value);
	} else if (strcmp(name, "fd-from") == 0) {
		step_fd_from((int)number(value));
	} else {
		must(false, name);
	}
}

static bool run_plain(const char *name)
{
	if (strcmp(name, "accept") == 0)
		step_accept();
	else if (strcmp(name, "drain") == 0)
		step_receive(UINT64_MAX, "drain");
	else if (strcmp(name, "fill") == 0)
		step_fill();
	else if (strcmp(name, "shutdown") == 0)
		shutdown(agent.descriptor, SHUT_WR);
	else if (strcmp(name, "shutdown-read") == 0)
		shutdown(agent.descriptor, SHUT_RD);
	else if (strcmp(name, "close") == 0)
		close(agent.descriptor);
	else if (strcmp(name, "dup") == 0)
		agent.descriptor = dup(agent.descriptor);
	else if (strcmp(name, "exit") == 0)
		_exit(0);
	else if (strcmp(name, "return") == 0)
		exit(0);
	else if (strcmp(name, "kill") == 0)
		raise(SIGKILL);
	else if (strcmp(name, "linger0") == 0)
		step_linger0();
	else if (strcmp(name, "nodelay") == 0)
		step_nodelay();
	else if (strcmp(name, "deny-getfd") == 0)
		step_deny_getfd();
	else if (strcmp(name, "stdio") == 0)
		dprintf(agent.descriptor, "%s", ""); /* libc could have read ahead now */
	else if (strcmp(name, "error") == 0)
		step_error();
	else if (strcmp(name, "state") == 0)
		step_state();
	else if (strcmp(name, "settle") == 0)
		step_settle();
	else if (strcmp(name, "cookie") == 0)
		step_cookie();
	else if (strcmp(name, "reap") == 0)
		step_reap();
	else if (strcmp(name, "oob") == 0)
		step_oob();
	else if (strcmp(name, "recv-oob") == 0)
		step_recv_oob();
	else if (strcmp(name, "cloexec") == 0)
		must(fcntl(agent.descriptor, F_SETFD, FD_CLOEXEC) == 0, "F_SETFD");
	else if (strcmp(name, "sigpipe") == 0)
		agent.send_flags = 0;
	else
		return false;
	return true;
}

static bool run_with_value(const char *name, char *value)
{
	if (strcmp(name, "progress") == 0)
		step_progress(value);
	else if (strcmp(name, "listen") == 0)
		step_listen(value);
	else if (strcmp(name, "connect") == 0)
		step_connect(value);
	else if (strcmp(name, "send") == 0)
		(void)(step_send(number(value), "send") && (say("send", "done"), true));
	else if (strcmp(name, "recv") == 0)
		(void)(step_receive(number(value), "recv") && (say("recv", "done"), true));
	else if (strcmp(name, "ping") == 0)
		step_ping(number(value));
	else if (strcmp(name, "pong") == 0)
		step_pong(number(value));
	else if (strcmp(name, "duplex") == 0)
		step_duplex(number(value));
	else if (strcmp(name, "wait") == 0)
		step_wait((int)number(value));
	else if (strcmp(name, "tell") == 0)
		must(write((int)number(value), "!", 1) == 1, "tell");
	else if (strcmp(name, "sleep") == 0)
		poll(NULL, 0, (int)number(value));
	else if (strcmp(name, "say") == 0)
		say(value, "reached");
	else if (strcmp(name, "scribble") == 0)
		step_scribble(number(value));
	else if (strcmp(name, "closeall") == 0)
		step_closeall(value);
	else if (strcmp(name, "fail-exec") == 0)
		step_fail_exec(value);
	else if (strcmp(name, "become") == 0)
		step_become(value);
	else if (strcmp(name, "move") == 0)
		step_move((int)number(value));
	else
		return false;
	return true;
}

static char **run_steps(char **step)
{
	while (*step) {
		char *name = *step++;
		char *colon = strchr(name, ':');

		pause_now_and_then();
		if (strcmp(name, "fork") == 0) {
			step = step_fork(step);
			continue;
		}
		if (strcmp(name, "end") == 0)
			return step;
		if (strcmp(name, "pass-foreign") == 0)
			step_pass_foreign(step);
		if (!colon) {
			must(run_plain(name), name);
			continue;
		}
		*colon = 0;
		if (strcmp(name, "exec") == 0 || strcmp(name, "exec-foreign") == 0)
			step_exec((int)number(colon + 1), strcmp(name, "exec-foreign") == 0, step);
		else if (strcmp(name, "vfork-foreign") == 0)
			step_vfork_foreign((int)number(colon + 1), step);
		else if (!run_with_value(name, colon + 1))
			step_set(name, colon + 1);
		*colon = ':';
	}
	return step;
}

int main(int argc, char **argv)
{
	(void)argc;
	run_steps(argv + 1);
	return 0;
}
