/* Calls that wait for several descriptors (poll(2), select(2), epoll(7)). */
#define _GNU_SOURCE
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/fault.h"
#include "base/sys.h"
#include "interpose/interpose.h"
#include "wait/epoll.h"
#include "wait/poll.h"
#include "wait/sleep.h"

#define POLL_COUNT_MAX 1048576

FAULT_LOADS(waits);

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t bytes);
void __chk_fail(void) __attribute__((noreturn));

/* -- poll ------------------------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(((struct pollfd *)0)->fd) == 4 && !offsetof(struct pollfd, fd), "fault_load reads fd");

/* One descriptor that is not ours, or memory that cannot be read: to libc at once. */
static inline int poll_is_foreign(const void *fds, nfds_t count)
{
	uint64_t fd;

	if (unlikely(count != 1))
		return 0;
	fd = fault_load(fds);
	return likely(fd >= DESCRIPTORS_MAX) || likely(!load_relaxed(&descriptor_table[fd]));
}

/* Whether we poll: one of ours is among them. */
static int poll_is_ours(const struct pollfd *fds, nfds_t count)
{
	return count && count <= POLL_COUNT_MAX && fds && poll_concerns_us(fds, count);
}

/* libc declares the array as written only; we look at it first. */
static inline const struct pollfd *readable(struct pollfd *fds)
{
	__asm__("" : "+r"(fds));
	return fds;
}

APART int poll_known(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	if (!poll_is_ours(readable(fds), count))
		return REAL(poll)(fds, count, timeout_ms);
	return (int)interpose_result(poll_wait(fds, count, sleep_deadline_ms(timeout_ms), NULL));
}

static inline int poll_any(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return poll_is_foreign(fds, count) ? REAL(poll)(fds, count, timeout_ms) : poll_known(fds, count, timeout_ms);
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return poll_any(fds, count, timeout_ms);
}

EXPORT_AS(__poll, poll);

EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes)
{
	if (bytes / sizeof(*fds) < count)
		__chk_fail();
	return poll_any(fds, count, timeout_ms);
}

static int time_is_good(const struct timespec *time)
{
	return !time || (time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
}

APART int ppoll_known(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	if (!poll_is_ours(readable(fds), count) || !time_is_good(timeout))
		return REAL(ppoll)(fds, count, timeout, mask);
	return (int)interpose_result(poll_wait(fds, count, sleep_deadline(timeout), mask));
}

static inline int ppoll_any(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	return poll_is_foreign(fds, count) ? REAL(ppoll)(fds, count, timeout, mask)
	                                   : ppoll_known(fds, count, timeout, mask);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	return ppoll_any(fds, count, timeout, mask);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                       size_t bytes)
{
	if (bytes / sizeof(*fds) < count)
		__chk_fail();
	return ppoll_any(fds, count, timeout, mask);
}

/* -- select -------------------------------------------------------------------------------------------------------------------- */

/* Linux gives the time that is left back. */
static void time_left(struct timeval *timeout, uint64_t deadline_ns)
{
	uint64_t now = clock_now_ns();
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;

	timeout->tv_sec = (time_t)(left / 1000000000u);
	timeout->tv_usec = (suseconds_t)(left % 1000000000u / 1000u);
}

EXPORT int select(int count, fd_set *reads, fd_set *writes, fd_set *errors, struct timeval *timeout)
{
	struct timespec time;
	uint64_t deadline_ns;
	long result;

	if (unlikely(count > FD_SETSIZE))
		count = descriptor_select_count(count);
	if (likely(count <= 0 || !poll_select_concerns_us(count, reads, writes, errors)))
		return REAL(select)(count, reads, writes, errors, timeout);
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0))
		return (int)interpose_result(-EINVAL);
	if (timeout) {
		time.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
		time.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	}
	deadline_ns = sleep_deadline(timeout ? &time : NULL);
	result = poll_select(count, reads, writes, errors, deadline_ns, NULL);
	if (timeout)
		time_left(timeout, deadline_ns);
	return (int)interpose_result(result);
}

EXPORT_AS(__select, select);

EXPORT int pselect(int count, fd_set *reads, fd_set *writes, fd_set *errors, const struct timespec *timeout,
                   const sigset_t *mask)
{
	if (unlikely(count > FD_SETSIZE))
		count = descriptor_select_count(count);
	if (likely(count <= 0 || !time_is_good(timeout) || !poll_select_concerns_us(count, reads, writes, errors)))
		return REAL(pselect)(count, reads, writes, errors, timeout, mask);
	return (int)interpose_result(poll_select(count, reads, writes, errors, sleep_deadline(timeout), mask));
}

/* -- epoll ------------------------------------------------------------------------------------------------------------------------ */

static int set_made(int fd)
{
	if (fd < 0 || thread.vforked)
		return fd;
	interpose_start();
	epoll_set_new(fd);
	return fd;
}

EXPORT int epoll_create(int size)
{
	return set_made(REAL(epoll_create)(size));
}

EXPORT int epoll_create1(int flags)
{
	return set_made(REAL(epoll_create1)(flags));
}

APART int epoll_ctl_known(int set, int operation, int fd, struct epoll_event *event)
{
	if (thread.vforked)
		return REAL(epoll_ctl)(set, operation, fd, event);
	if (descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_OWN)
		return (int)interpose_result(-EBADF);
	return (int)interpose_result(epoll_control(set, operation, fd, event));
}

EXPORT int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
	return is_foreign(fd) ? REAL(epoll_ctl)(set, operation, fd, event) : epoll_ctl_known(set, operation, fd, event);
}

static int set_is_ours(int set, const struct epoll_event *events, int count)
{
	char byte;

	if (descriptor_kind(descriptor_entry(set)) != DESCRIPTOR_SET || count <= 0)
		return 0;
	/* Where the array cannot be written the kernel says EFAULT. */
	return !copy_guarded(&byte, &events[count - 1], 1) &&
	       !copy_guarded((void *)(uintptr_t)&events[count - 1], &byte, 1);
}

APART int epoll_wait_known(int set, struct epoll_event *events, int count, int timeout_ms)
{
	if (!set_is_ours(set, events, count))
		return REAL(epoll_wait)(set, events, count, timeout_ms);
	return (int)interpose_result(epoll_wait_events(set, events, count, sleep_deadline_ms(timeout_ms), NULL));
}

EXPORT int epoll_wait(int set, struct epoll_event *events, int count, int timeout_ms)
{
	return is_foreign(set) ? REAL(epoll_wait)(set, events, count, timeout_ms)
	                       : epoll_wait_known(set, events, count, timeout_ms);
}

APART int epoll_pwait_known(int set, struct epoll_event *events, int count, int timeout_ms, const sigset_t *mask)
{
	if (!set_is_ours(set, events, count))
		return REAL(epoll_pwait)(set, events, count, timeout_ms, mask);
	return (int)interpose_result(epoll_wait_events(set, events, count, sleep_deadline_ms(timeout_ms), mask));
}

EXPORT int epoll_pwait(int set, struct epoll_event *events, int count, int timeout_ms, const sigset_t *mask)
{
	return is_foreign(set) ? REAL(epoll_pwait)(set, events, count, timeout_ms, mask)
	                       : epoll_pwait_known(set, events, count, timeout_ms, mask);
}

APART int epoll_pwait2_known(int set, struct epoll_event *events, int count, const struct timespec *timeout,
                             const sigset_t *mask)
{
	if (!set_is_ours(set, events, count) || !time_is_good(timeout))
		return REAL(epoll_pwait2)(set, events, count, timeout, mask);
	return (int)interpose_result(epoll_wait_events(set, events, count, sleep_deadline(timeout), mask));
}

EXPORT int epoll_pwait2(int set, struct epoll_event *events, int count, const struct timespec *timeout,
                        const sigset_t *mask)
{
	return is_foreign(set) ? REAL(epoll_pwait2)(set, events, count, timeout, mask)
	                       : epoll_pwait2_known(set, events, count, timeout, mask);
}
