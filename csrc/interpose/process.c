/* Calls that make processes, replace them and end them (fork(2), execve(2), posix_spawn(3), _exit(2)).
 *
 * A program that is started inherits the descriptors that are not close-on-exec: sockets of ours among them are given
 * back to the kernel before the call goes through, for good. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pty.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/sys.h"
#include "interpose/interpose.h"
#include "wait/epoll.h"

#define ARGUMENTS_MAX 4096

static uint64_t arena_left; /* our start time, while an exec is tried */

pid_t __fork(void);

_Static_assert(__builtin_offsetof(struct thread_state, vforked) == 16, "vfork.S knows this offset");

/* -- fork ------------------------------------------------------------------------------------------------------------------- */

static uint32_t before_fork(void)
{
	uint32_t child = arena_child_prepare();

	/* A child without a slot of its own would be invisible to those who ask who holds a socket. */
	for (int fd = 0; arena && child == ARENA_NONE && fd <= descriptor_highest(); fd++)
		if (sock_of(fd))
			sock_never(sock_of(fd), fd, reason_table_full);
	sock_fork_prepare();
	return child;
}

static void after_fork(uint32_t child, pid_t result)
{
	int saved_errno = errno;

	if (result == 0) {
		thread.id = 0;
		thread.held_back = 0;
		arena_child_start(child);
		sock_fork_child();
		epoll_fork_child();
	} else {
		sock_fork_parent();
		if (result < 0)
			arena_child_failed(child);
		else
			arena_child_known(child, result);
	}
	errno = saved_errno;
}

static pid_t fork_by(pid_t (*real)(void))
{
	uint32_t child;
	pid_t result;

	if (thread.vforked)
		return real();
	child = before_fork();
	result = real();
	after_fork(child, result);
	return result;
}

EXPORT pid_t fork(void)
{
	return fork_by(REAL(fork));
}

EXPORT pid_t __fork(void)
{
	return fork();
}

EXPORT pid_t _Fork(void)
{
	return fork_by(REAL(_Fork));
}

EXPORT int daemon(int stay, int keep_output)
{
	uint32_t child = before_fork();
	int result = REAL(daemon)(stay, keep_output);

	after_fork(child, result);
	return result;
}

EXPORT int forkpty(int *terminal, char *name, const struct termios *settings, const struct winsize *size)
{
	uint32_t child = before_fork();
	int result = REAL(forkpty)(terminal, name, settings, size);

	after_fork(child, result);
	return result;
}

/* -- other programs ----------------------------------------------------------------------------------------------------------- */

static int is_inherited(int fd)
{
	long flags = sys_fcntl(fd, F_GETFD, 0);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

/* What a new program would inherit is the kernel's again. */
static void give_away_inherited(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd) && is_inherited(fd))
			interpose_give_away(fd);
}

/* This process becomes another program: nothing of it stays attached. Seen by the family as if it were gone. */
static void leave_all(void)
{
	if (thread.vforked || !arena || arena_process == ARENA_NONE)
		return;
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd) && (load_acquire(&sock_of(fd)->gate) & (GATE_ENGINE | GATE_FORKED)) == GATE_ENGINE)
			local_to_kernel(&sock_of(fd)->end, 1, 1);
	arena_left = arena->processes[arena_process].start_time;
	store_release(&arena->processes[arena_process].start_time, 1);
}

static int exec_failed(int result)
{
	if (!thread.vforked && arena && arena_process != ARENA_NONE)
		store_release(&arena->processes[arena_process].start_time, arena_left);
	return result;
}

static void before_exec(void)
{
	give_away_inherited();
	leave_all();
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
	before_exec();
	return exec_failed(REAL(execve)(path, arguments, environment));
}

EXPORT int execv(const char *path, char *const arguments[])
{
	return execve(path, arguments, environ);
}

EXPORT int execvp(const char *file, char *const arguments[])
{
	before_exec();
	return exec_failed(REAL(execvp)(file, arguments));
}

EXPORT int execvpe(const char *file, char *const arguments[], char *const environment[])
{
	before_exec();
	return exec_failed(REAL(execvpe)(file, arguments, environment));
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
	before_exec();
	return exec_failed(REAL(fexecve)(fd, arguments, environment));
}

EXPORT int execveat(int folder, const char *path, char *const arguments[], char *const environment[], int flags)
{
	before_exec();
	return exec_failed(REAL(execveat)(folder, path, arguments, environment, flags));
}

/* The variadic spellings: arguments up to NULL, and for execle the environment behind it. */
static size_t gather(const char *first, va_list rest, char **arguments)
{
	size_t count = 0;

	arguments[count++] = (char *)(uintptr_t)first;
	while (arguments[count - 1] && count < ARGUMENTS_MAX)
		arguments[count++] = va_arg(rest, char *);
	return arguments[count - 1] ? 0 : count;
}

EXPORT int execl(const char *path, const char *argument, ...)
{
	char *arguments[ARGUMENTS_MAX];
	va_list rest;
	size_t count;

	va_start(rest, argument);
	count = gather(argument, rest, arguments);
	va_end(rest);
	return count ? execve(path, arguments, environ) : (int)interpose_result(-E2BIG);
}

EXPORT int execlp(const char *file, const char *argument, ...)
{
	char *arguments[ARGUMENTS_MAX];
	va_list rest;
	size_t count;

	va_start(rest, argument);
	count = gather(argument, rest, arguments);
	va_end(rest);
	return count ? execvp(file, arguments) : (int)interpose_result(-E2BIG);
}

EXPORT int execle(const char *path, const char *argument, ...)
{
	char *arguments[ARGUMENTS_MAX];
	char *const *environment;
	va_list rest;
	size_t count;

	va_start(rest, argument);
	count = gather(argument, rest, arguments);
	environment = va_arg(rest, char *const *);
	va_end(rest);
	return count ? execve(path, arguments, environment) : (int)interpose_result(-E2BIG);
}

EXPORT int posix_spawn(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
	give_away_inherited();
	return REAL(posix_spawn)(child, path, actions, attributes, arguments, environment);
}

EXPORT int posix_spawnp(pid_t *child, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
	give_away_inherited();
	return REAL(posix_spawnp)(child, file, actions, attributes, arguments, environment);
}

EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int wanted)
{
	interpose_give_away(fd);
	return REAL(posix_spawn_file_actions_adddup2)(actions, fd, wanted);
}

EXPORT int system(const char *command)
{
	give_away_inherited();
	return REAL(system)(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	give_away_inherited();
	return REAL(popen)(command, mode);
}

/* -- the end ---------------------------------------------------------------------------------------------------------------------- */

static void exit_now(int status)
{
	if (!thread.vforked)
		sock_all_exit();
	for (;;)
		SYS1(SYS_exit_group, status);
}

EXPORT void _exit(int status)
{
	exit_now(status);
	__builtin_unreachable();
}

EXPORT void _Exit(int status)
{
	exit_now(status);
	__builtin_unreachable();
}
