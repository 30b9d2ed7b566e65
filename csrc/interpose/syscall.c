/* syscall(2): numbers of calls that are interposed go to the interposed functions. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/copy.h"
#include "interpose/fork.h"
#include "interpose/interpose.h"

#define NOT_OURS (-100000)
#define SA_RESTORER 0x04000000

long syscall_passed_on(long number, long a, long b, long c, long d, long e) EXPORT_NAME("syscall");

/* A system call whose arguments have another form than libc's function. */
static long as_it_is(long number, const long *a)
{
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long pselect6(const long *a)
{
	struct {
		const sigset_t *mask;
		size_t bytes;
	} six = {NULL, 8};

	if (a[5] && (copy_guarded(&six, (void *)a[5], sizeof(six)) || (six.mask && six.bytes != 8)))
		return as_it_is(SYS_pselect6, a);
	return pselect((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (void *)a[4], six.mask);
}

/* The kernel's struct sigaction. */
struct kernel_action {
	void (*handler)(int number);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static long rt_sigaction(const long *a)
{
	struct kernel_action wanted, before = {.handler = SIG_DFL};
	struct sigaction action, old;

	memset(&action, 0, sizeof(action));
	if (a[3] != sizeof(wanted.mask) || (a[1] && copy_guarded(&wanted, (void *)a[1], sizeof(wanted))))
		return as_it_is(SYS_rt_sigaction, a);
	if (a[1]) {
		action.sa_handler = wanted.handler;
		action.sa_flags = (int)wanted.flags & ~SA_RESTORER; /* libc brings its own */
		memcpy(&action.sa_mask, &wanted.mask, sizeof(wanted.mask));
	}
	if (sigaction((int)a[0], a[1] ? &action : NULL, &old))
		return -1;
	before.handler = old.sa_handler;
	before.flags = (unsigned long)old.sa_flags;
	memcpy(&before.mask, &old.sa_mask, sizeof(before.mask));
	return a[2] && copy_guarded((void *)a[2], &before, sizeof(before)) ? interpose_result(-EFAULT) : 0;
}

static long data_call(long number, const long *a)
{
	switch (number) {
	case SYS_read:
		return read((int)a[0], (void *)a[1], (size_t)a[2]);
	case SYS_write:
		return write((int)a[0], (void *)a[1], (size_t)a[2]);
	case SYS_readv:
		return readv((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_writev:
		return writev((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_sendto:
		return sendto((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (socklen_t)a[5]);
	case SYS_recvfrom:
		return recvfrom((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (void *)a[5]);
	case SYS_sendmsg:
		return sendmsg((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_recvmsg:
		return recvmsg((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_sendmmsg:
		return sendmmsg((int)a[0], (void *)a[1], (unsigned)a[2], (int)a[3]);
	case SYS_recvmmsg:
		return recvmmsg((int)a[0], (void *)a[1], (unsigned)a[2], (int)a[3], (void *)a[4]);
	case SYS_preadv2: /* the fifth argument is the upper half of the fourth, of no use here */
		return preadv2((int)a[0], (void *)a[1], (int)a[2], a[3], (int)a[5]);
	case SYS_pwritev2:
		return pwritev2((int)a[0], (void *)a[1], (int)a[2], a[3], (int)a[5]);
	case SYS_sendfile:
		return sendfile((int)a[0], (int)a[1], (void *)a[2], (size_t)a[3]);
	case SYS_splice:
		return splice((int)a[0], (void *)a[1], (int)a[2], (void *)a[3], (size_t)a[4], (unsigned)a[5]);
	default:
		return NOT_OURS;
	}
}

static long descriptor_call(long number, const long *a)
{
	switch (number) {
	case SYS_socket:
		return socket((int)a[0], (int)a[1], (int)a[2]);
	case SYS_connect:
		return connect((int)a[0], (void *)a[1], (socklen_t)a[2]);
	case SYS_listen:
		return listen((int)a[0], (int)a[1]);
	case SYS_accept:
		return accept((int)a[0], (void *)a[1], (void *)a[2]);
	case SYS_accept4:
		return accept4((int)a[0], (void *)a[1], (void *)a[2], (int)a[3]);
	case SYS_shutdown:
		return shutdown((int)a[0], (int)a[1]);
	case SYS_getpeername:
		return getpeername((int)a[0], (void *)a[1], (void *)a[2]);
	case SYS_getsockopt:
		return getsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3], (void *)a[4]);
	case SYS_setsockopt:
		return setsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3], (socklen_t)a[4]);
	case SYS_close:
		return close((int)a[0]);
	case SYS_close_range:
		return close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
	case SYS_dup:
		return dup((int)a[0]);
	case SYS_dup2:
		return dup2((int)a[0], (int)a[1]);
	case SYS_dup3:
		return dup3((int)a[0], (int)a[1], (int)a[2]);
	case SYS_fcntl:
		return fcntl((int)a[0], (int)a[1], (void *)a[2]);
	case SYS_ioctl:
		return ioctl((int)a[0], (unsigned long)a[1], (void *)a[2]);
	default:
		return NOT_OURS;
	}
}

static long other_call(long number, const long *a)
{
	switch (number) {
	case SYS_poll:
		return poll((void *)a[0], (nfds_t)a[1], (int)a[2]);
	case SYS_ppoll:
		return ppoll((void *)a[0], (nfds_t)a[1], (void *)a[2], (void *)a[3]);
	case SYS_select:
		return select((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (void *)a[4]);
	case SYS_pselect6:
		return pselect6(a);
	case SYS_rt_sigaction:
		return rt_sigaction(a);
	case SYS_epoll_create:
		return epoll_create((int)a[0]);
	case SYS_epoll_create1:
		return epoll_create1((int)a[0]);
	case SYS_epoll_ctl:
		return epoll_ctl((int)a[0], (int)a[1], (int)a[2], (void *)a[3]);
	case SYS_epoll_wait:
		return epoll_wait((int)a[0], (void *)a[1], (int)a[2], (int)a[3]);
	case SYS_epoll_pwait:
		return epoll_pwait((int)a[0], (void *)a[1], (int)a[2], (int)a[3], (void *)a[4]);
	case SYS_epoll_pwait2:
		return epoll_pwait2((int)a[0], (void *)a[1], (int)a[2], (void *)a[3], (void *)a[4]);
	case SYS_fork:
		return fork();
	case SYS_clone:
		return fork_by_clone(a);
	case SYS_clone3:
		return fork_by_clone3(a);
	case SYS_execve:
		return execve((void *)a[0], (void *)a[1], (void *)a[2]);
	case SYS_execveat:
		return execveat((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (int)a[4]);
	case SYS_io_uring_setup: /* its reads and writes would pass by the rings */
		return interpose_result(-ENOSYS);
	default:
		return NOT_OURS;
	}
}

/* Numbers (their lowest byte) that may be ours although the first argument is no descriptor of ours. */
static const uint8_t looked_at[256] = {
	[SYS_socket & 255] = 1,    [SYS_accept & 255] = 1,       [SYS_accept4 & 255] = 1,        [SYS_sendmsg & 255] = 1,
	[SYS_sendmmsg & 255] = 1,  [SYS_splice & 255] = 1,       [SYS_close_range & 255] = 1,    [SYS_dup2 & 255] = 1,
	[SYS_dup3 & 255] = 1,      [SYS_poll & 255] = 1,         [SYS_ppoll & 255] = 1,          [SYS_select & 255] = 1,
	[SYS_epoll_ctl & 255] = 1, [SYS_epoll_create & 255] = 1, [SYS_epoll_create1 & 255] = 1,  [SYS_fork & 255] = 1,
	[SYS_execve & 255] = 1,    [SYS_execveat & 255] = 1,     [SYS_io_uring_setup & 255] = 1, [SYS_clone & 255] = 1,
	[SYS_clone3 & 255] = 1,    [SYS_pselect6 & 255] = 1,     [SYS_rt_sigaction & 255] = 1,
};

/* Variadic, for the sixth argument lies on the stack, in what may be the caller's frame: it is read and never written. */
APART long syscall_known(long number, ...)
{
	long a[6], result;
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	result = data_call(number, a);
	if (result == NOT_OURS)
		result = descriptor_call(number, a);
	if (result == NOT_OURS)
		result = other_call(number, a);
	return result != NOT_OURS ? result : REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What is on the stack stays where it is: both ways out are jumps. */
long syscall_passed_on(long number, long a, long b, long c, long d, long e)
{
	if (is_foreign((int)a) && likely(!looked_at[number & 255]))
		return ((__typeof__(&syscall_passed_on))REAL(syscall))(number, a, b, c, d, e);
	return syscall_known(number, a, b, c, d, e);
}
