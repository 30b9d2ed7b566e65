/* Calls left in the middle, forks with handlers, and entries that few programs use: each line is one case. The process is
 * connected to itself. `leaving HOST PORT` (of peer.c, which is not needed). */
#define _GNU_SOURCE
#include "wire.h"

#include <aio.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define WARM_TURNS 40
#define WIDE 1500
#define STORM_ROUNDS 1500
#define STORM_US_MAX 90

static sigjmp_buf out;
static int ends[2];

static void report(const char *name, long result)
{
	if (result < 0)
		printf("%s: %s\n", name, strerrorname_np(errno));
	else
		printf("%s: %ld\n", name, result);
	fflush(stdout);
}

static void turn(int from, int to)
{
	char byte = 'x';

	wire_send_all(from, &byte, 1);
	wire_receive_all(to, &byte, 1);
}

/* Two ends of a connection of this process with itself, attached if that is possible. */
static void connect_ends(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, bytes) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &bytes) ||
	    connect(ends[0], (struct sockaddr *)&address, bytes))
		wire_fail("connect");
	ends[1] = accept(listener, NULL, NULL);
	close(listener);
	for (int i = 0; i < 2; i++)
		setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < WARM_TURNS; i++) {
		turn(ends[0], ends[1]);
		turn(ends[1], ends[0]);
	}
}

/* What the other end sees of a close: 0 is the end, as it must be. */
static void close_ends(const char *name)
{
	struct timeval limit = {.tv_sec = 3};
	char byte;

	setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	close(ends[0]);
	report(name, recv(ends[1], &byte, 1, 0));
	close(ends[1]);
}

/* -- left by a handler ---------------------------------------------------------------------------------------------------- */

static void leave(int number)
{
	(void)number;
	siglongjmp(out, 1);
}

static void come_back(int number)
{
	(void)number;
}

static void alarm_in(int milliseconds, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};
	struct itimerval timer = {.it_value = {.tv_usec = milliseconds * 1000}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void in_recv(void)
{
	char byte;

	recv(ends[0], &byte, 1, 0);
}

static void in_send(void)
{
	static char block[1 << 16];

	while (send(ends[0], block, sizeof(block), 0) > 0)
		;
}

static void in_poll(void)
{
	struct pollfd fd = {.fd = ends[0], .events = POLLIN};

	poll(&fd, 1, -1);
}

static void in_select(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	select(ends[0] + 1, &set, NULL, NULL, NULL);
}

static void in_epoll(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event);
	if (!sigsetjmp(out, 1))
		epoll_wait(set, &event, 1, -1);
	close(set);
}

/* A handler that writes into a dead frame would find the pattern. */
__attribute__((noinline)) static long spoilt_stack(void)
{
	volatile unsigned char block[32768];
	long spoilt = 0;

	memset((void *)(uintptr_t)block, 0x5a, sizeof(block));
	alarm_in(0, come_back);
	raise(SIGALRM);
	for (size_t i = 0; i < sizeof(block); i++)
		spoilt += block[i] != 0x5a;
	return spoilt;
}

static void leave_case(const char *name, void (*call)(void))
{
	for (int round = 0; round < 3; round++) {
		connect_ends();
		alarm_in(30, leave);
		if (!sigsetjmp(out, 1))
			call();
		printf("%s left: ", name);
		report("spoilt", spoilt_stack());
		if (call != in_send) {
			turn(ends[0], ends[1]);
			turn(ends[1], ends[0]);
			close_ends("closed");
		} else {
			close(ends[0]);
			close(ends[1]);
		}
	}
}

/* Left again and again, at any instruction of the call: what it holds is given back, and the connection goes on, and ends. */
static void storm_case(const char *name, void (*call)(void))
{
	struct sigaction action = {.sa_handler = leave};
	volatile unsigned round = 0;

	sigaction(SIGALRM, &action, NULL);
	connect_ends();
	for (; round < STORM_ROUNDS; round++) {
		struct itimerval timer = {.it_value = {.tv_usec = 1 + (long)(round * 7919u % STORM_US_MAX)}};

		if (!sigsetjmp(out, 1)) {
			setitimer(ITIMER_REAL, &timer, NULL);
			call();
		}
	}
	printf("storm in %s\n", name);
	for (int i = 0; i < WARM_TURNS; i++) {
		turn(ends[0], ends[1]);
		turn(ends[1], ends[0]);
	}
	close_ends("closed");
}

static void *closes_and_sends(void *of)
{
	(void)of;
	usleep(20000);
	close(ends[0]);
	usleep(20000);
	wire_send_all(ends[1], "z", 1);
	return NULL;
}

/* Closed by another thread while it sleeps, woken by a byte, asleep again, and left: then the socket is closed. */
static void closed_case(void)
{
	struct timeval limit = {.tv_sec = 3};
	pthread_t thread;
	char data[8];

	connect_ends();
	setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	pthread_create(&thread, NULL, closes_and_sends, NULL);
	alarm_in(90, leave);
	if (!sigsetjmp(out, 1))
		recv(ends[0], data, sizeof(data), MSG_WAITALL);
	pthread_join(thread, NULL);
	report("closed under a receive that was left", recv(ends[1], data, 1, 0));
	close(ends[1]);
}

/* -- cancelled ------------------------------------------------------------------------------------------------------------ */

static void *without_sleep(void *of)
{
	const char *how = of;
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);
	char byte = 'x';

	epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event);
	for (;;) {
		struct pollfd fd = {.fd = ends[0], .events = POLLIN};

		if (!strcmp(how, "recv"))
			recv(ends[0], &byte, 1, MSG_DONTWAIT);
		else if (!strcmp(how, "send"))
			send(ends[0], &byte, 1, MSG_DONTWAIT);
		else if (!strcmp(how, "poll"))
			poll(&fd, 1, 0);
		else
			epoll_wait(set, &event, 1, 0);
	}
	return NULL;
}

/* Starts a thread, cancels it after a moment, and tells whether it ended by that. */
static void start_and_cancel(const char *name, void *(*function)(void *), void *of)
{
	struct timespec limit;
	pthread_t thread;
	void *result = NULL;

	pthread_create(&thread, NULL, function, of);
	usleep(20000);
	pthread_cancel(thread);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 3;
	printf("cancelled in %s: %s\n", name,
	       !pthread_timedjoin_np(thread, &result, &limit) && result == PTHREAD_CANCELED ? "yes" : "no");
	fflush(stdout);
}

static void cancel_case(char *how)
{
	connect_ends();
	start_and_cancel(how, without_sleep, how);
	close(ends[0]);
	close(ends[1]);
}

struct call {
	void (*function)(void);
};

static void *asleep(void *of)
{
	((struct call *)of)->function();
	return NULL;
}

/* What a cancelled sleeper held is given back: the connection goes on, and ends. */
static void cancel_asleep_case(const char *name, void (*function)(void))
{
	struct call call = {function};

	connect_ends();
	start_and_cancel(name, asleep, &call);
	turn(ends[0], ends[1]);
	turn(ends[1], ends[0]);
	close_ends("closed");
}

/* -- forks ---------------------------------------------------------------------------------------------------------------- */

static void goes_on(const char *name)
{
	turn(ends[0], ends[1]);
	turn(ends[1], ends[0]);
	close_ends(name);
}

static int child_of_clone(void *of)
{
	char byte;

	(void)of;
	return recv(ends[0], &byte, 1, MSG_DONTWAIT) == 1 ? 7 : 1;
}

static void reap(const char *name, long child)
{
	int status = 0;

	waitpid((pid_t)child, &status, 0);
	report(name, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* A child that takes a byte out of the ring and ends: the parent's connection goes on, and ends as it should. */
static void clone_case(const char *name, int how)
{
	static char stack[1 << 16];
	struct clone_args arguments = {.exit_signal = SIGCHLD};
	char byte = 'y';
	long child;

	connect_ends();
	wire_send_all(ends[1], &byte, 1);
	if (how == 0)
		child = clone(child_of_clone, stack + sizeof(stack), SIGCHLD, NULL);
	else if (how == 1)
		child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	else if (how == 2)
		child = syscall(SYS_clone3, &arguments, sizeof(arguments));
	else
		child = _Fork();
	if (!child)
		_exit(child_of_clone(NULL));
	reap(name, child);
	goes_on("goes on");
}

/* A child that ends at once, without a call of ours that would tell that it is another process. */
static void silent_clone_case(void)
{
	char byte = 'y';
	long child;

	connect_ends();
	wire_send_all(ends[1], &byte, 1);
	__asm__ volatile("syscall"
	                 : "=a"(child)
	                 : "0"((long)SYS_clone), "D"((long)SIGCHLD), "S"(0L), "d"(0L)
	                 : "rcx", "r11", "memory");
	if (!child)
		_exit(3);
	reap("silent clone", child);
	wire_receive_all(ends[0], &byte, 1);
	goes_on("goes on");
}

static pthread_mutex_t of_program = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop;
static int closed_in_child = -1;

static void before(void)
{
	pthread_mutex_lock(&of_program);
}

static void after(void)
{
	pthread_mutex_unlock(&of_program);
}

static void after_in_child(void)
{
	if (closed_in_child >= 0)
		close(closed_in_child);
	pthread_mutex_unlock(&of_program);
}

static void *connects_under_mutex(void *of)
{
	(void)of;
	while (!stop) {
		pthread_mutex_lock(&of_program);
		connect_ends();
		close(ends[0]);
		close(ends[1]);
		pthread_mutex_unlock(&of_program);
		usleep(500); /* the mutex is not fair */
	}
	return NULL;
}

static pid_t forked_in_handler;

/* The child leaves the sleep that is its parent's, when that sleeps again. */
static void fork_and_leave(int number)
{
	(void)number;
	forked_in_handler = fork();
	if (forked_in_handler)
		return;
	usleep(60000);
	siglongjmp(out, 1);
}

static void *sends_after_child(void *of)
{
	(void)of;
	usleep(200000);
	wire_send_all(ends[1], "z", 1);
	return NULL;
}

static void fork_in_sleep_case(const char *name, bool polls)
{
	struct sigaction action = {.sa_handler = fork_and_leave, .sa_flags = SA_RESTART};
	struct itimerval timer = {.it_value = {.tv_usec = 20000}};
	struct pollfd fd;
	pthread_t thread;
	char byte;

	connect_ends();
	fd = (struct pollfd){.fd = ends[0], .events = POLLIN};
	sigaction(SIGALRM, &action, NULL);
	pthread_create(&thread, NULL, sends_after_child, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	if (sigsetjmp(out, 1))
		_exit(0);
	while (polls && poll(&fd, 1, -1) < 0) /* EINTR */
		;
	report(name, recv(ends[0], &byte, 1, polls ? MSG_DONTWAIT : 0));
	pthread_join(thread, NULL);
	waitpid(forked_in_handler, NULL, 0);
	goes_on("goes on");
}

static void handlers_case(void)
{
	pthread_t thread;
	int kept[2];

	pthread_atfork(before, after, after_in_child);
	connect_ends();
	memcpy(kept, ends, sizeof(kept));
	closed_in_child = kept[0];
	pthread_create(&thread, NULL, connects_under_mutex, NULL);
	for (int i = 0; i < 100; i++) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		usleep(500);
	}
	stop = 1;
	pthread_join(thread, NULL);
	closed_in_child = -1;
	memcpy(ends, kept, sizeof(kept));
	goes_on("forks with handlers");
}

/* -- entries -------------------------------------------------------------------------------------------------------------- */

static void *sends_late(void *of)
{
	(void)of;
	usleep(40000);
	wire_send_all(ends[1], "z", 1);
	return NULL;
}

static long wide_select(unsigned long *set, int wide, int milliseconds)
{
	struct timeval limit = {.tv_usec = milliseconds * 1000};
	long ready;

	memset(set, 0, (WIDE + 64) / 8);
	set[wide / 64] |= 1ul << wide % 64;
	ready = select(wide + 1, (fd_set *)(void *)set, NULL, NULL, &limit);
	return ready < 0 ? ready : ready * 10 + (long)(set[wide / 64] >> wide % 64 & 1);
}

static void wide_case(void)
{
	unsigned long set[(WIDE + 64) / 64];
	struct rlimit limit;
	pthread_t thread;
	int wide;
	char byte;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
	setrlimit(RLIMIT_NOFILE, &limit);
	connect_ends();
	wide = fcntl(ends[0], F_DUPFD, WIDE - 100);
	report("wide, empty", wide_select(set, wide, 50));
	wire_send_all(ends[1], "z", 1);
	report("wide, one byte", wide_select(set, wide, 900));
	recv(wide, &byte, 1, 0);
	pthread_create(&thread, NULL, sends_late, NULL);
	report("wide, woken", wide_select(set, wide, 900));
	pthread_join(thread, NULL);
	recv(wide, &byte, 1, 0);
	close(wide);
	close_ends("wide closed");
}

static void entries_case(void)
{
	char data[8];
	struct iovec piece = {data, sizeof(data)};
	struct {
		const sigset_t *mask;
		size_t bytes;
	} six = {NULL, 8};
	struct timespec short_time = {.tv_nsec = 30000000};
	fd_set set;

	connect_ends();
	report("nothing, not waited for", preadv2(ends[0], &piece, 1, -1, RWF_NOWAIT));
	report("sent, not waited for", pwritev2(ends[1], &piece, 1, -1, RWF_NOWAIT));
	report("received, not waited for", preadv2(ends[0], &piece, 1, -1, RWF_NOWAIT));
	wire_send_all(ends[1], data, 8);
	report("preadv64v2", preadv64v2(ends[0], &piece, 1, -1, 0));
	wire_send_all(ends[1], data, 8);
	report("SYS_preadv2", syscall(SYS_preadv2, ends[0], &piece, 1, -1L, 0L, 0));
	report("SYS_pwritev2", syscall(SYS_pwritev2, ends[0], &piece, 1, -1L, 0L, 0));
	report("received", recv(ends[1], data, 8, MSG_WAITALL));
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	report("SYS_pselect6, empty", syscall(SYS_pselect6, ends[0] + 1, &set, NULL, NULL, &short_time, &six));
	wire_send_all(ends[1], data, 8);
	FD_SET(ends[0], &set);
	report("SYS_pselect6", syscall(SYS_pselect6, ends[0] + 1, &set, NULL, NULL, &short_time, &six));
	report("mark", sockatmark(ends[0]));
	report("received", recv(ends[0], data, 8, MSG_WAITALL));
	report("with another flag", preadv2(ends[0], &piece, 1, -1, 0x8000));
	turn(ends[0], ends[1]);
	goes_on("entries");
}

/* The raw call tells what the program has set, and no handler of the library's own; a raw change is seen by sigaction. */
static void raw_action_case(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long mask;
	} raw = {.handler = SIG_DFL};
	struct sigaction action = {.sa_handler = come_back};

	sigaction(SIGALRM, &action, NULL);
	report("SYS_rt_sigaction", syscall(SYS_rt_sigaction, SIGALRM, NULL, &raw, 8L));
	printf("the handler: %d\n", raw.handler == come_back);
	raw.handler = SIG_IGN;
	report("SYS_rt_sigaction", syscall(SYS_rt_sigaction, SIGALRM, &raw, NULL, 8L));
	sigaction(SIGALRM, NULL, &action);
	printf("ignored: %d\n", action.sa_handler == SIG_IGN);
}

static void aio_case(void)
{
	char data[8];
	struct aiocb call = {.aio_buf = data, .aio_nbytes = sizeof(data)};
	const struct aiocb *all[1] = {&call};

	connect_ends();
	wire_send_all(ends[1], "12345678", 8);
	call.aio_fildes = ends[0];
	report("aio_read", aio_read(&call));
	aio_suspend(all, 1, NULL);
	report("aio_return", aio_error(&call) ? -1 : aio_return(&call));
	goes_on("aio");
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	leave_case("recv", in_recv);
	leave_case("send", in_send);
	leave_case("poll", in_poll);
	leave_case("select", in_select);
	leave_case("epoll", in_epoll);
	closed_case();
	storm_case("recv", in_recv);
	storm_case("poll", in_poll);
	storm_case("select", in_select);
	cancel_case("recv");
	cancel_case("send");
	cancel_case("poll");
	cancel_case("epoll");
	cancel_asleep_case("a sleep in recv", in_recv);
	cancel_asleep_case("a sleep in poll", in_poll);
	cancel_asleep_case("a sleep in select", in_select);
	cancel_asleep_case("a sleep in epoll", in_epoll);
	clone_case("clone", 0);
	clone_case("SYS_clone", 1);
	clone_case("SYS_clone3", 2);
	clone_case("_Fork", 3);
	silent_clone_case();
	fork_in_sleep_case("fork in a handler in recv", false);
	fork_in_sleep_case("fork in a handler in poll", true);
	handlers_case();
	wide_case();
	entries_case();
	raw_action_case();
	aio_case();
	return 0;
}
