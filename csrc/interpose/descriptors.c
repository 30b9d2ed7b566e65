/* Calls that make, copy, change and close descriptors (close(2), dup(2), fcntl(2), ioctl(2), close_range(2)). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/sys.h"
#include "interpose/interpose.h"
#include "wait/epoll.h"

int fcntl_passed_on(int fd, int command, void *argument) EXPORT_NAME("fcntl");
int ioctl_passed_on(int fd, unsigned long request, void *argument) EXPORT_NAME("ioctl");

void interpose_give_away(int fd)
{
	struct sock *sock = sock_of(fd);

	if (sock)
		sock_into_kernel(sock, fd, reason_foreign_program);
}

/* -- closing ------------------------------------------------------------------------------------------------------------ */

APART int close_known(int fd, uint32_t entry)
{
	struct sock *sock;
	int last, result;

	if (thread.vforked)
		return REAL(close)(fd);
	switch (descriptor_kind(entry)) {
	case DESCRIPTOR_OWN:
		return (int)interpose_result(-EBADF);
	case DESCRIPTOR_SET:
		epoll_set_close(descriptor_index(entry));
		descriptor_set(fd, DESCRIPTOR_UNKNOWN, 0);
		return REAL(close)(fd);
	case DESCRIPTOR_LISTENER:
		descriptor_set(fd, DESCRIPTOR_UNKNOWN, 0);
		return REAL(close)(fd);
	default:
		sock = &socks[descriptor_index(entry)];
		last = sock_close_begin(sock, fd);
		result = REAL(close)(fd);
		if (last)
			sock_closed(sock);
		return result;
	}
}

EXPORT int close(int fd)
{
	uint32_t entry = descriptor_entry(fd);

	return likely(!entry) ? REAL(close)(fd) : close_known(fd, entry);
}

EXPORT_AS(__close, close);

/* Closes [first, last] but for Byway's own, in as few calls as they allow. */
static int close_between(unsigned first, unsigned last, int flags)
{
	int highest = descriptor_highest();
	unsigned from = first;
	int result = 0;

	for (unsigned fd = first; fd <= last && (int)fd <= highest && fd <= INT32_MAX; fd++) {
		uint32_t entry = descriptor_entry((int)fd);

		if (descriptor_kind(entry) == DESCRIPTOR_OWN) {
			if (from < fd)
				result |= (int)SYS3(SYS_close_range, from, fd - 1, flags);
			from = fd + 1;
		} else if (entry && !(flags & CLOSE_RANGE_CLOEXEC)) {
			close_known((int)fd, entry);
		}
	}
	if (from <= last)
		result |= (int)SYS3(SYS_close_range, from, last, flags);
	return result;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	if (thread.vforked || first > last || (flags & ~(int)(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE)))
		return REAL(close_range)(first, last, flags);
	return (int)interpose_result(close_between(first, last, flags));
}

EXPORT void closefrom(int lowest)
{
	close_range((unsigned)(lowest < 0 ? 0 : lowest), ~0u, 0);
}

/* -- stdio: it reads and writes inside libc -------------------------------------------------------------------------------- */

APART FILE *fdopen_ours(struct sock *sock, int fd, const char *mode)
{
	sock_into_kernel(sock, fd, reason_stdio);
	return REAL(fdopen)(fd, mode);
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(fdopen)(fd, mode) : fdopen_ours(sock, fd, mode);
}

EXPORT int fclose(FILE *file)
{
	int fd = file ? fileno(file) : -1;
	uint32_t entry = fd >= 0 ? descriptor_entry(fd) : 0;
	struct sock *sock = descriptor_kind(entry) == DESCRIPTOR_SOCKET ? &socks[descriptor_index(entry)] : NULL;
	int last, result;

	if (likely(!sock))
		return REAL(fclose)(file);
	fflush(file);
	last = sock_close_begin(sock, fd);
	result = REAL(fclose)(file);
	if (last)
		sock_closed(sock);
	return result;
}

EXPORT int vdprintf(int fd, const char *format, va_list arguments)
{
	struct sock *sock = sock_of(fd);

	if (sock)
		sock_into_kernel(sock, fd, reason_stdio);
	return REAL(vdprintf)(fd, format, arguments);
}

EXPORT int dprintf(int fd, const char *format, ...)
{
	va_list arguments;
	int result;

	va_start(arguments, format);
	result = is_foreign(fd) ? REAL(vdprintf)(fd, format, arguments) : vdprintf(fd, format, arguments);
	va_end(arguments);
	return result;
}

/* -- copying --------------------------------------------------------------------------------------------------------------- */

static void copied(int old, int fd)
{
	uint32_t entry = descriptor_entry(old);

	if (fd < 0 || thread.vforked)
		return;
	if (descriptor_kind(entry) == DESCRIPTOR_SOCKET)
		sock_add_descriptor(&socks[descriptor_index(entry)], fd);
	else if (descriptor_kind(entry) == DESCRIPTOR_SET)
		epoll_set_add_descriptor(descriptor_index(entry), fd);
}

APART int dup_known(int old)
{
	int fd = REAL(dup)(old);

	copied(old, fd);
	return fd;
}

EXPORT int dup(int old)
{
	return is_foreign(old) ? REAL(dup)(old) : dup_known(old);
}

/* A vfork child's copy of a socket is for the program that it becomes, and no table of ours will know it. */
static int dup_in_vfork_child(int old, int wanted, int flags)
{
	interpose_give_away(old);
	return (int)interpose_result(SYS3(SYS_dup3, old, wanted, flags));
}

/* `wanted` is closed first: by us, if it is ours. */
static int dup_onto(int old, int wanted, int flags)
{
	uint32_t entry = descriptor_entry(wanted);
	struct sock *sock = descriptor_kind(entry) == DESCRIPTOR_SOCKET ? &socks[descriptor_index(entry)] : NULL;
	int last = 0;
	long fd;

	if (thread.vforked)
		return dup_in_vfork_child(old, wanted, flags);
	if (descriptor_kind(entry) == DESCRIPTOR_OWN)
		return (int)interpose_result(-EBADF);
	if (sys_fcntl(old, F_GETFD, 0) < 0)
		return (int)interpose_result(-EBADF);
	if (sock)
		last = sock_close_begin(sock, wanted);
	else if (entry)
		close_known(wanted, entry);
	fd = SYS3(SYS_dup3, old, wanted, flags);
	if (last)
		sock_closed(sock);
	copied(old, (int)fd);
	return (int)interpose_result(fd);
}

static inline int nothing_of_ours(int old, int wanted)
{
	/* DESCRIPTORS_MAX is a power of two: both are below it. */
	return ((unsigned)old | (unsigned)wanted) < DESCRIPTORS_MAX &&
	       !(load_relaxed(&descriptor_table[old]) | load_relaxed(&descriptor_table[wanted]));
}

APART int dup2_known(int old, int wanted)
{
	return old == wanted ? REAL(dup2)(old, wanted) : dup_onto(old, wanted, 0);
}

EXPORT int dup2(int old, int wanted)
{
	return likely(nothing_of_ours(old, wanted)) ? REAL(dup2)(old, wanted) : dup2_known(old, wanted);
}

EXPORT_AS(__dup2, dup2);

APART int dup3_known(int old, int wanted, int flags)
{
	return old == wanted || flags & ~O_CLOEXEC ? REAL(dup3)(old, wanted, flags) : dup_onto(old, wanted, flags);
}

EXPORT int dup3(int old, int wanted, int flags)
{
	return likely(nothing_of_ours(old, wanted)) ? REAL(dup3)(old, wanted, flags) : dup3_known(old, wanted, flags);
}

/* -- flags ------------------------------------------------------------------------------------------------------------------- */

APART int fcntl_known(int fd, int command, void *argument)
{
	struct sock *sock = sock_of(fd);
	int result;

	if (descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_OWN && !thread.vforked)
		return (int)interpose_result(-EBADF);
	result = REAL(fcntl)(fd, command, argument);
	if (result < 0 || thread.vforked)
		return result;
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		copied(fd, result);
	if (sock && command == F_SETFL) {
		sock_set_nonblocking(sock, ((long)argument & O_NONBLOCK) != 0);
		if ((long)argument & O_ASYNC)
			sock_never(sock, fd, reason_option);
	}
	return result;
}

int fcntl_passed_on(int fd, int command, void *argument)
{
	return is_foreign(fd) ? REAL(fcntl)(fd, command, argument) : fcntl_known(fd, command, argument);
}

EXPORT_AS(fcntl64, fcntl);
EXPORT_AS(__fcntl, fcntl);

APART int ioctl_ours(struct sock *sock, int fd, unsigned long request, void *argument)
{
	int result = REAL(ioctl)(fd, request, argument);

	if (result < 0)
		return result;
	if (request == FIONBIO)
		sock_set_nonblocking(sock, *(int *)argument != 0);
	if (request == FIOASYNC && *(int *)argument)
		sock_never(sock, fd, reason_option);
	if (request == FIONREAD && sock_is_engine(sock))
		*(int *)argument += (int)local_ring_readable(&sock->end, fd);
	if (request == SIOCATMARK && sock_is_engine(sock) && local_ring_unread(&sock->end))
		*(int *)argument = 0; /* who sends urgent data stays with the kernel: the ring's bytes lie before the mark */
	return result;
}

int ioctl_passed_on(int fd, unsigned long request, void *argument)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(ioctl)(fd, request, argument) : ioctl_ours(sock, fd, request, argument);
}

APART int sockatmark_ours(struct sock *sock, int fd)
{
	int is_mark = 0;

	return ioctl_ours(sock, fd, SIOCATMARK, &is_mark) < 0 ? -1 : is_mark;
}

EXPORT int sockatmark(int fd)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(sockatmark)(fd) : sockatmark_ours(sock, fd);
}
