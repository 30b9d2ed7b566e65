/* Bad pointers: every call that reads or writes memory of the program, on an attached connection, a UNIX socket and a
 * pipe, is given memory that is not there. Linux says EFAULT and goes on. Each line is one case. `pointers HOST PORT`. */
#define _GNU_SOURCE
#include "wire.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/uio.h>

static char *bad;

static void say(const char *where, const char *name, long result)
{
	printf("%s %s: %s\n", where, name, result >= 0 ? "fine" : strerrorname_np(errno));
	fflush(stdout);
}

static void sending(const char *where, int fd)
{
	char byte = 'x';
	struct iovec good = {&byte, 1}, lost = {bad, 8};
	struct msghdr of_bad_pieces = {.msg_iov = (struct iovec *)(void *)bad, .msg_iovlen = 1};
	struct msghdr of_bad_bytes = {.msg_iov = &lost, .msg_iovlen = 1};
	struct msghdr of_bad_control = {.msg_iov = &good, .msg_iovlen = 1, .msg_control = bad, .msg_controllen = 24};

	say(where, "send", send(fd, bad, 8, 0));
	say(where, "write", write(fd, bad, 8));
	say(where, "writev", writev(fd, (struct iovec *)(void *)bad, 1));
	say(where, "writev of bad bytes", writev(fd, &lost, 1));
	say(where, "sendmsg", sendmsg(fd, (struct msghdr *)(void *)bad, 0));
	say(where, "sendmsg of NULL", sendmsg(fd, NULL, 0));
	say(where, "sendmsg of bad pieces", sendmsg(fd, &of_bad_pieces, 0));
	say(where, "sendmsg of bad bytes", sendmsg(fd, &of_bad_bytes, 0));
	say(where, "sendmsg of bad control data", sendmsg(fd, &of_bad_control, 0));
	say(where, "sendmmsg", sendmmsg(fd, (struct mmsghdr *)(void *)bad, 1, 0));
}

/* Something is there to receive, before and after. */
static void receiving(const char *where, int fd)
{
	char byte;
	struct iovec good = {&byte, 1}, lost = {bad, 8};
	struct msghdr of_bad_pieces = {.msg_iov = (struct iovec *)(void *)bad, .msg_iovlen = 1};
	struct msghdr of_bad_bytes = {.msg_iov = &lost, .msg_iovlen = 1};
	struct msghdr of_good = {.msg_iov = &good, .msg_iovlen = 1};

	say(where, "recv", recv(fd, bad, 8, MSG_DONTWAIT));
	say(where, "peek", recv(fd, bad, 8, MSG_DONTWAIT | MSG_PEEK));
	say(where, "read", read(fd, bad, 8));
	say(where, "readv", readv(fd, (struct iovec *)(void *)bad, 1));
	say(where, "readv of bad bytes", readv(fd, &lost, 1));
	say(where, "recvmsg", recvmsg(fd, (struct msghdr *)(void *)bad, MSG_DONTWAIT));
	say(where, "recvmsg of NULL", recvmsg(fd, NULL, MSG_DONTWAIT));
	say(where, "recvmsg of bad pieces", recvmsg(fd, &of_bad_pieces, MSG_DONTWAIT));
	say(where, "recvmsg of bad bytes", recvmsg(fd, &of_bad_bytes, MSG_DONTWAIT));
	say(where, "recvmmsg", recvmmsg(fd, (struct mmsghdr *)(void *)bad, 1, MSG_DONTWAIT, NULL));
	say(where, "recvmsg", recvmsg(fd, &of_good, MSG_DONTWAIT));
}

static void asking(const char *where, int fd)
{
	int set = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN};
	struct timeval at_once = {0, 0};

	say(where, "FIONREAD", ioctl(fd, FIONREAD, bad));
	say(where, "getsockopt", getsockopt(fd, SOL_SOCKET, SO_ERROR, bad, (socklen_t *)(void *)(bad + 64)));
	say(where, "setsockopt", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, bad, 4));
	say(where, "getpeername", getpeername(fd, (struct sockaddr *)(void *)bad, (socklen_t *)(void *)(bad + 64)));
	say(where, "poll", poll((struct pollfd *)(void *)bad, 1, 0));
	say(where, "select", select(fd + 1, (fd_set *)(void *)bad, NULL, NULL, &at_once));
	say(where, "epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, fd, (struct epoll_event *)(void *)bad));
	say(where, "epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	say(where, "epoll_wait", epoll_wait(set, (struct epoll_event *)(void *)bad, 4, 0));
	close(set);
}

static void connection(const char *host, const char *port)
{
	char data[100];
	int fd = wire_fresh(host, port);

	sending("connection", fd);
	wire_ask(fd, WIRE_SEND, sizeof(data), 0);
	recv(fd, data, 1, MSG_PEEK);
	receiving("connection", fd);
	asking("connection", fd);
	wire_receive_all(fd, data, sizeof(data) - 1); /* one byte was received */
	wire_ask(fd, WIRE_SEND, sizeof(data), 0);
	wire_receive_all(fd, data, sizeof(data));
	puts("connection goes on");
	close(fd);
}

static void foreign(void)
{
	int ends[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	sending("unix", ends[0]);
	send(ends[1], "abcdefghij", 10, 0);
	receiving("unix", ends[0]);
	asking("unix", ends[0]);
	pipe(ends);
	say("pipe", "write", write(ends[1], bad, 8));
	write(ends[1], "abc", 3);
	say("pipe", "read", read(ends[0], bad, 8));
	say("pipe", "readv", readv(ends[0], (struct iovec *)(void *)bad, 1));
	say("pipe", "sendmsg", sendmsg(ends[1], (struct msghdr *)(void *)bad, 0));
	say("pipe", "recvmsg", recvmsg(ends[0], (struct msghdr *)(void *)bad, 0));
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	connection(argv[1], argv[2]);
	foreign();
	return 0;
}
