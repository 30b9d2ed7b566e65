/* Signals during calls that wait, as signal(7) has them: each line is one case. `signals HOST PORT` (of peer.c). */
#define _GNU_SOURCE
#include "wire.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>

static volatile sig_atomic_t arrived;
static int handler_descriptor = -1;
static ssize_t handler_got;
static const char *host, *port;

static void on_alarm(int number)
{
	(void)number;
	arrived++;
}

static void on_alarm_receive(int number)
{
	char data[64];

	(void)number;
	arrived++;
	handler_got = recv(handler_descriptor, data, sizeof(data), MSG_DONTWAIT);
}

static void arm(void (*handler)(int), int flags, int after_ms)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	struct itimerval timer = {.it_value = {.tv_usec = after_ms * 1000}};

	arrived = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void report(const char *name, ssize_t result)
{
	if (result < 0)
		printf("%s: %s, signals %d\n", name, strerrorname_np(errno), (int)arrived);
	else
		printf("%s: %zd, signals %d\n", name, result, (int)arrived);
	fflush(stdout);
}

static int fresh(void)
{
	return wire_fresh(host, port);
}

static void receive_cases(void)
{
	struct timeval limit = {.tv_sec = 5};
	struct timeval short_limit = {.tv_usec = 60000};
	char data[256];
	int descriptor = fresh();

	arm(on_alarm, 0, 50);
	report("recv interrupted", recv(descriptor, data, sizeof(data), 0));
	wire_ask(descriptor, WIRE_SEND, 10, 150);
	arm(on_alarm, SA_RESTART, 50);
	report("recv restarted", recv(descriptor, data, sizeof(data), 0));
	wire_ask(descriptor, WIRE_SEND, 10, 150);
	arm(on_alarm, SA_RESTART, 50);
	report("read restarted", read(descriptor, data, sizeof(data)));
	wire_ask(descriptor, WIRE_SEND, 10, 0);
	wire_ask(descriptor, WIRE_SEND, 10, 150);
	arm(on_alarm, 0, 50);
	report("recv waitall interrupted", recv(descriptor, data, 20, MSG_WAITALL));
	report("recv the rest", recv(descriptor, data, 10, MSG_WAITALL));
	wire_ask(descriptor, WIRE_SEND, 10, 0);
	wire_ask(descriptor, WIRE_SEND, 10, 150);
	arm(on_alarm, SA_RESTART, 50);
	report("recv waitall restartable", recv(descriptor, data, 20, MSG_WAITALL));
	report("recv the rest again", recv(descriptor, data, 10, MSG_DONTWAIT) < 0 ? 0 : 1);
	poll(NULL, 0, 200);
	recv(descriptor, data, sizeof(data), MSG_DONTWAIT);
	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	arm(on_alarm, SA_RESTART, 50);
	report("recv with timeout interrupted", recv(descriptor, data, sizeof(data), 0));
	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &short_limit, sizeof(short_limit));
	arrived = 0;
	report("recv timeout", recv(descriptor, data, sizeof(data), 0));
	close(descriptor);
}

static void ignored_cases(void)
{
	sigset_t set, old;
	char data[256];
	int descriptor = fresh();

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, &old);
	wire_ask(descriptor, WIRE_SEND, 10, 120);
	arm(on_alarm, 0, 30);
	report("recv with signal blocked", recv(descriptor, data, sizeof(data), 0));
	sigprocmask(SIG_SETMASK, &old, NULL);
	report("after unblocking", 0);
	wire_ask(descriptor, WIRE_SEND, 10, 120);
	arm(SIG_IGN, 0, 30);
	report("recv with signal ignored", recv(descriptor, data, sizeof(data), 0));
	close(descriptor);
}

static void poll_cases(void)
{
	int descriptor = fresh();
	struct pollfd entry = {.fd = descriptor, .events = POLLIN};
	struct epoll_event event = {.events = EPOLLIN};
	struct timespec second = {.tv_sec = 1};
	int set = epoll_create1(0);
	sigset_t none, alarm_set, old;
	fd_set readable;
	char data[64];

	epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
	arm(on_alarm, SA_RESTART, 40);
	report("poll", poll(&entry, 1, 1000));
	arm(on_alarm, SA_RESTART, 40);
	report("epoll_wait", epoll_wait(set, &event, 1, 1000));
	FD_ZERO(&readable);
	FD_SET(descriptor, &readable);
	arm(on_alarm, SA_RESTART, 40);
	report("select", select(descriptor + 1, &readable, NULL, NULL, &(struct timeval){.tv_sec = 1}));
	sigemptyset(&none);
	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm_set, &old);
	arm(on_alarm, 0, 1);
	usleep(20000);
	report("pending before ppoll", 0);
	report("ppoll lets it in", ppoll(&entry, 1, &second, &none));
	arm(on_alarm, 0, 1);
	usleep(20000);
	report("epoll_pwait lets it in", epoll_pwait(set, &event, 1, 1000, &none));
	arm(on_alarm, 0, 1);
	usleep(20000);
	FD_SET(descriptor, &readable);
	report("pselect lets it in", pselect(descriptor + 1, &readable, NULL, NULL, &second, &none));
	wire_ask(descriptor, WIRE_SEND, 10, 0);
	poll(&entry, 1, 1000);
	arm(on_alarm, 0, 1);
	usleep(20000);
	report("ppoll with bytes ready", ppoll(&entry, 1, &second, &alarm_set));
	sigprocmask(SIG_SETMASK, &old, NULL);
	report("recv", recv(descriptor, data, sizeof(data), 0));
	close(set);
	close(descriptor);
}

static void handler_cases(void)
{
	int waiting = fresh();
	char data[64];

	handler_descriptor = fresh();
	wire_ask(handler_descriptor, WIRE_SEND, 12, 0);
	wire_ask(waiting, WIRE_SEND, 10, 150);
	arm(on_alarm_receive, SA_RESTART, 60);
	report("recv while a handler receives elsewhere", recv(waiting, data, sizeof(data), 0));
	report("the handler got", handler_got);
	close(handler_descriptor);
	handler_descriptor = waiting;
	wire_ask(waiting, WIRE_SEND, 10, 150);
	arm(on_alarm_receive, SA_RESTART, 60);
	report("recv while a handler receives here", recv(waiting, data, sizeof(data), 0));
	report("the handler got", handler_got);
	close(waiting);
}

/* Signals all the time while bytes flow both ways: none may be lost or doubled, no call may hang. */
static void storm(void)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval timer = {{0, 200}, {0, 200}}, off = {0};
	int descriptor = fresh();
	char data[4096];
	uint32_t total = 0;

	sigaction(SIGALRM, &action, NULL);
	arrived = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
	for (int turn = 0; turn < 3000; turn++) {
		wire_ask(descriptor, WIRE_SEND, 1000, 0);
		wire_receive_all(descriptor, data, 1000);
		total += 1000;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	close(descriptor);
	printf("storm: %u bytes, signals %s\n", total, arrived > 0 ? "came" : "did not come");
}

static void *kill_main(void *argument)
{
	pthread_t main_thread = *(pthread_t *)argument;

	poll(NULL, 0, 50);
	pthread_kill(main_thread, SIGUSR1);
	return NULL;
}

static void thread_case(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	pthread_t main_thread = pthread_self(), thread;
	int descriptor = fresh();
	char data[16];

	arrived = 0;
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&thread, NULL, kill_main, &main_thread);
	report("recv interrupted by a thread", recv(descriptor, data, sizeof(data), 0));
	pthread_join(thread, NULL);
	close(descriptor);
}

/* The child shares memory, and has actions and mask to itself: what it resets stays set in its parent (subprocess.Popen). */
static void vfork_case(void)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, none = {.sa_handler = SIG_DFL}, seen;
	sigset_t all, before, after;

	arrived = 0;
	sigaction(SIGUSR1, &action, NULL);
	sigprocmask(SIG_SETMASK, NULL, &before);
	if (vfork() == 0) {
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		sigaction(SIGUSR1, NULL, &seen);
		sigaction(SIGUSR1, &none, NULL);
		_exit(seen.sa_handler != on_alarm);
	}
	sigprocmask(SIG_SETMASK, NULL, &after);
	raise(SIGUSR1);
	printf("after a vfork child's reset: signals %d, mask %s, SIGSEGV %s\n", (int)arrived,
	       memcmp(&before, &after, sizeof(unsigned long)) ? "changed" : "as before",
	       sigismember(&after, SIGSEGV) ? "blocked" : "open");
	printf("what the child saw was %s\n", seen.sa_handler == on_alarm ? "its parent's handler" : "something else");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	host = argv[1];
	port = argv[2];
	receive_cases();
	ignored_cases();
	poll_cases();
	handler_cases();
	thread_case();
	vfork_case();
	storm();
	return 0;
}
