/* Calls that copy the process (fork(2), clone(2), daemon(3), forkpty(3)).
 *
 * Decides what happens around a fork: a slot of the family for the child, before; locks that a child must not find held by
 * nobody; and what the child has of its parent's sockets. Where libc runs the program's handlers (pthread_atfork(3)), ours
 * are among them, registered before the program's main begins: so ours run last before the fork, with the program's locks
 * held already, and first after it in the child, before a handler of the program closes what it has inherited. */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/sys.h"
#include "interpose/fork.h"
#include "interpose/interpose.h"
#include "wait/epoll.h"
#include "wait/signal.h"

pid_t __fork(void);

/* The slot of the child that this thread is making; ARENA_NONE: none. */
static __thread uint32_t child_slot = ARENA_NONE;

static void before_fork(void)
{
	uint32_t child = arena_child_prepare();

	/* A child without a slot of its own would be invisible to those who ask who holds a socket. */
	for (int fd = 0; arena && child == ARENA_NONE && fd <= descriptor_highest(); fd++)
		if (sock_of(fd))
			sock_never(sock_of(fd), fd, reason_table_full);
	epoll_fork_prepare();
	sock_fork_prepare();
	child_slot = child; /* last: until now a handler may have made a child of its own */
}

static void after_in_parent(void)
{
	uint32_t child = child_slot;

	sock_fork_parent(); /* signals that were held back come, and a handler may fork */
	child_slot = child;
}

static void after_in_child(void)
{
	thread.id = 0;
	thread.held_back = 0;
	arena_child_start(child_slot);
	child_slot = ARENA_NONE;
	signal_fork_child();
	sock_fork_child();
	epoll_fork_child();
}

/* In the parent, when it knows whether there is a child. */
static void child_is_known(pid_t child)
{
	int saved_errno = errno;

	if (child < 0)
		arena_child_failed(child_slot);
	else
		arena_child_known(child_slot, child);
	child_slot = ARENA_NONE;
	errno = saved_errno;
}

/* -- libc's handlers ---------------------------------------------------------------------------------------------------- */

static void prepare_handler(void)
{
	int saved_errno = errno;

	if (!thread.vforked)
		before_fork();
	errno = saved_errno;
}

static void parent_handler(void)
{
	if (!thread.vforked)
		after_in_parent();
}

static void child_handler(void)
{
	int saved_errno = errno;

	if (!thread.vforked)
		after_in_child();
	errno = saved_errno;
}

int fork_start(void)
{
	return -pthread_atfork(prepare_handler, parent_handler, child_handler);
}

EXPORT pid_t fork(void)
{
	pid_t result;

	if (!thread.vforked)
		interpose_start(); /* a child would not find what an exec has passed to this process */
	result = REAL(fork)();
	if (result && !thread.vforked)
		child_is_known(result);
	return result;
}

EXPORT pid_t __fork(void)
{
	return fork();
}

/* Both return in the child; in the parent, too, where they fail before or after the fork. */
EXPORT int daemon(int stay, int keep_output)
{
	int result;

	interpose_start();
	result = REAL(daemon)(stay, keep_output);
	if (result < 0)
		child_is_known(result);
	return result;
}

EXPORT int forkpty(int *terminal, char *name, const struct termios *settings, const struct winsize *size)
{
	int result;

	interpose_start();
	result = REAL(forkpty)(terminal, name, settings, size);
	if (result)
		child_is_known(result);
	return result;
}

/* -- without handlers ----------------------------------------------------------------------------------------------------- */

typedef long makes_process(const long *arguments);

/* `make` returns as fork(2) does, in both. */
static long fork_by(makes_process *make, const long *arguments)
{
	long result;

	interpose_start();
	before_fork();
	result = make(arguments);
	if (!result) {
		after_in_child();
		return 0;
	}
	after_in_parent();
	child_is_known((pid_t)result);
	return result;
}

static long by_libc(const long *none)
{
	(void)none;
	return REAL(_Fork)();
}

EXPORT pid_t _Fork(void)
{
	return thread.vforked ? REAL(_Fork)() : (pid_t)fork_by(by_libc, NULL);
}

static long by_syscall(const long *a)
{
	return REAL(syscall)(a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* A process with memory of its own, that goes on where this one is. */
static int is_fork(uint64_t flags, uint64_t stack)
{
	return !thread.vforked && !(flags & CLONE_VM) && !stack;
}

long fork_by_clone(const long *a)
{
	long all[6] = {SYS_clone, a[0], a[1], a[2], a[3], a[4]};

	return is_fork((uint64_t)a[0], (uint64_t)a[1]) ? fork_by(by_syscall, all) : by_syscall(all);
}

long fork_by_clone3(const long *a)
{
	long all[6] = {SYS_clone3, a[0], a[1], a[2], a[3], a[4]};
	struct clone_args how = {0};

	if ((size_t)a[1] < CLONE_ARGS_SIZE_VER0 || copy_guarded(&how, (void *)a[0], CLONE_ARGS_SIZE_VER0))
		return by_syscall(all);
	return is_fork(how.flags, how.stack) ? fork_by(by_syscall, all) : by_syscall(all);
}

struct begun {
	int (*function)(void *of);
	void *of;
};

static int child_begins(void *of)
{
	const struct begun *begun = of; /* on the parent's stack, which the child has a copy of */

	after_in_child();
	return begun->function(begun->of);
}

EXPORT int clone(int (*function)(void *of), void *stack, int flags, void *of, ...)
{
	struct begun begun = {function, of};
	va_list rest;
	void *parent_id, *thread_area, *child_id;
	int result;

	va_start(rest, of);
	parent_id = va_arg(rest, void *);
	thread_area = va_arg(rest, void *);
	child_id = va_arg(rest, void *);
	va_end(rest);
	if (thread.vforked || flags & CLONE_VM || !function || !stack)
		return REAL(clone)(function, stack, flags, of, parent_id, thread_area, child_id);
	interpose_start();
	before_fork();
	result = REAL(clone)(child_begins, stack, flags, &begun, parent_id, thread_area, child_id);
	after_in_parent();
	child_is_known(result);
	return result;
}
