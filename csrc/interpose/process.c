/* Calls that start programs and end them (execve(2), posix_spawn(3), _exit(2)).
 *
 * A program that is started inherits the descriptors that are not close-on-exec. Where exec brings a program that has the
 * library too (image.h), attached sockets pass to it (sock/passport.h); else they are given back to the kernel before the
 * call goes through, for good. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/sys.h"
#include "interpose/image.h"
#include "interpose/interpose.h"
#include "local/pass.h"
#include "sock/passport.h"
#include "wait/epoll.h"

#define ARGUMENTS_MAX 4096
#define PASSPORT_TRIES_MAX 10

_Static_assert(__builtin_offsetof(struct thread_state, vforked) == 16, "vfork.S knows this offset");

/* -- other programs ----------------------------------------------------------------------------------------------------------- */

/* What a new program would inherit is the kernel's again. */
static void give_away_inherited(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd) && descriptor_is_inherited(fd))
			interpose_give_away(fd);
}

/* What cannot pass to an image with the library is the kernel's again, before anything is held: it may take time. */
static void give_away_unfit(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++) {
		struct sock *sock = sock_of(fd);

		if (!sock || !sock_is_engine(sock) || passport_suits(sock) || !descriptor_is_inherited(fd))
			continue;
		interpose_give_away(fd);
		if (sock_of(fd))
			sock_of(fd)->given = 1;
	}
}

/* No image knows what we know of a set: one that stays open is the kernel's. */
static void give_away_sets(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++) {
		uint32_t entry = descriptor_entry(fd);

		if (descriptor_kind(entry) == DESCRIPTOR_SET && descriptor_is_inherited(fd))
			epoll_set_passes(descriptor_index(entry));
	}
}

static int stays_open(const struct sock *sock, int closing_fd)
{
	if (load_relaxed(&sock->descriptors) <= 1)
		return 0;
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (fd != closing_fd && sock_of(fd) == sock && descriptor_is_inherited(fd))
			return 1;
	return 0;
}

/* The kernel closes them at exec, when nothing of ours runs any more. */
static void mark_closing(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd) && !descriptor_is_inherited(fd) && !stays_open(sock_of(fd), fd))
			sock_exec_closes(sock_of(fd), fd);
	sock_kept_each(sock_exec_closes);
	CRASH_POINT(exec_closing_marked);
}

static int is_member(void)
{
	return !thread.vforked && arena && arena_process != ARENA_NONE;
}

/* Signals that came meanwhile are held back, and exec would forget them: their handlers run before a new try. */
static int make_passport(void)
{
	for (int tries = 0; passport_make(); tries++) {
		if (!thread.held_back || tries == PASSPORT_TRIES_MAX)
			return 1;
		passport_fail();
	}
	return 0;
}

/* `image`: what comes up. Where it has the library, attached sockets pass; else this process is seen by the family as if
 * it were gone. 1: sockets pass. */
static int before_exec(int image)
{
	int passed;

	if (thread.vforked) {
		give_away_inherited();
		return 0;
	}
	give_away_sets();
	if (image == IMAGE_OURS)
		give_away_unfit();
	if (is_member())
		mark_closing();
	passed = is_member() && image == IMAGE_OURS && make_passport();
	if (!passed)
		give_away_inherited();
	if (!is_member())
		return 0;
	pass_pairs_leave();
	if (!passed)
		arena_exec_begins();
	CRASH_POINT(exec_ready);
	return passed;
}

/* It did not come to that: everything goes on. */
static int exec_failed(int passed, int result)
{
	int saved_errno = errno;

	if (!is_member())
		return result;
	pass_pairs_stay();
	if (passed)
		passport_fail();
	else
		arena_exec_failed();
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd)) {
			sock_not_closed(sock_of(fd), fd);
			sock_of(fd)->given = 0;
		}
	sock_kept_each(sock_not_closed);
	errno = saved_errno;
	return result;
}

/* Nothing of ours is open: whatever comes up, there is nothing to hand over. */
static int is_unconcerned(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_SOCKET ||
		    descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_SET)
			return 0;
	return 1;
}

/* What an exec will bring, or a negative errno: it cannot succeed, and is not tried. */
static int image_of(int folder, const char *path, int flags, char *const environment[])
{
	if (thread.vforked || is_unconcerned())
		return IMAGE_FOREIGN;
	return image_examine(folder, path, flags, environment);
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
	int image = image_of(AT_FDCWD, path, 0, environment), passed;

	if (image < 0)
		return (int)interpose_result(image);
	passed = before_exec(image);
	return exec_failed(passed, REAL(execve)(path, arguments, environment));
}

EXPORT int execv(const char *path, char *const arguments[])
{
	return execve(path, arguments, environ);
}

EXPORT int execvpe(const char *file, char *const arguments[], char *const environment[])
{
	char path[PATH_MAX];
	int image = thread.vforked || is_unconcerned() ? IMAGE_FOREIGN : image_search(file, environment, path);
	int passed;

	if (image < 0)
		return (int)interpose_result(image);
	if (image == IMAGE_OURS) { /* this one and no other: what passes is for it */
		passed = before_exec(IMAGE_OURS);
		if (exec_failed(passed, REAL(execve)(path, arguments, environment)) && !image_search_goes_on(errno))
			return -1;
	}
	passed = before_exec(IMAGE_FOREIGN);
	return exec_failed(passed, REAL(execvpe)(file, arguments, environment));
}

EXPORT int execvp(const char *file, char *const arguments[])
{
	return execvpe(file, arguments, environ);
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
	int image = image_of(fd, "", AT_EMPTY_PATH, environment), passed;

	if (image < 0)
		return (int)interpose_result(image);
	passed = before_exec(image);
	return exec_failed(passed, REAL(fexecve)(fd, arguments, environment));
}

EXPORT int execveat(int folder, const char *path, char *const arguments[], char *const environment[], int flags)
{
	int image = image_of(folder, path, flags, environment), passed;

	if (image < 0)
		return (int)interpose_result(image);
	passed = before_exec(image);
	return exec_failed(passed, REAL(execveat)(folder, path, arguments, environment, flags));
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
