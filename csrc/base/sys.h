/* Raw system calls, for Byway's own use: they are not interposed, do not touch errno, and are no cancellation points.
 * Each returns what the kernel returned: a value, or a negative errno. Any thread, any signal handler. */
#ifndef BYWAY_BASE_SYS_H
#define BYWAY_BASE_SYS_H

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
}

#define SYS6(nr, a, b, c, d, e, f) sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS5(nr, a, b, c, d, e) SYS6(nr, a, b, c, d, e, 0)
#define SYS4(nr, a, b, c, d) SYS6(nr, a, b, c, d, 0, 0)
#define SYS3(nr, a, b, c) SYS6(nr, a, b, c, 0, 0, 0)
#define SYS2(nr, a, b) SYS6(nr, a, b, 0, 0, 0, 0)
#define SYS1(nr, a) SYS6(nr, a, 0, 0, 0, 0, 0)
#define SYS0(nr) SYS6(nr, 0, 0, 0, 0, 0, 0)

static inline long sys_read(int fd, void *buffer, size_t bytes)
{
	return SYS3(SYS_read, fd, buffer, bytes);
}
static inline long sys_write(int fd, const void *buffer, size_t bytes)
{
	return SYS3(SYS_write, fd, buffer, bytes);
}
static inline long sys_close(int fd)
{
	return SYS1(SYS_close, fd);
}
static inline long sys_fcntl(int fd, int command, long argument)
{
	return SYS3(SYS_fcntl, fd, command, argument);
}
static inline long sys_ioctl(int fd, unsigned long request, void *argument)
{
	return SYS3(SYS_ioctl, fd, request, argument);
}
static inline long sys_socket(int family, int type, int protocol)
{
	return SYS3(SYS_socket, family, type, protocol);
}
static inline long sys_connect(int fd, const void *address, unsigned bytes)
{
	return SYS3(SYS_connect, fd, address, bytes);
}
static inline long sys_bind(int fd, const void *address, unsigned bytes)
{
	return SYS3(SYS_bind, fd, address, bytes);
}
static inline long sys_listen(int fd, int backlog)
{
	return SYS2(SYS_listen, fd, backlog);
}
static inline long sys_accept4(int fd, int flags)
{
	return SYS4(SYS_accept4, fd, 0, 0, flags);
}
static inline long sys_getsockopt(int fd, int level, int name, void *value, unsigned *bytes)
{
	return SYS5(SYS_getsockopt, fd, level, name, value, bytes);
}
static inline long sys_setsockopt(int fd, int level, int name, const void *value, unsigned bytes)
{
	return SYS5(SYS_setsockopt, fd, level, name, value, bytes);
}
static inline long sys_getname(long nr, int fd, void *address, unsigned *bytes)
{
	return SYS3(nr, fd, address, bytes);
}
static inline long sys_sendto(int fd, const void *buffer, size_t bytes, int flags)
{
	return SYS6(SYS_sendto, fd, buffer, bytes, flags, 0, 0);
}
static inline long sys_recvfrom(int fd, void *buffer, size_t bytes, int flags)
{
	return SYS6(SYS_recvfrom, fd, buffer, bytes, flags, 0, 0);
}
static inline long sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return SYS3(SYS_sendmsg, fd, message, flags);
}
static inline long sys_recvmsg(int fd, struct msghdr *message, int flags)
{
	return SYS3(SYS_recvmsg, fd, message, flags);
}
static inline long sys_poll(struct pollfd *fds, unsigned long count, int timeout_ms)
{
	return SYS3(SYS_poll, fds, count, timeout_ms);
}
static inline long sys_epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
	return SYS4(SYS_epoll_ctl, set, operation, fd, event);
}
static inline long sys_epoll_wait(int set, struct epoll_event *events, int count, int timeout_ms)
{
	return SYS6(SYS_epoll_pwait, set, events, count, timeout_ms, 0, 8);
}
static inline long sys_getpid(void)
{
	return SYS0(SYS_getpid);
}
static inline long sys_gettid(void)
{
	return SYS0(SYS_gettid);
}
static inline long sys_kill_thread(long process, long target, int signal)
{
	return SYS3(SYS_tgkill, process, target, signal);
}

#endif
