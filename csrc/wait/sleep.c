/* Raw system calls that read the timeout from memory, so that a handler can shorten a sleep that has not begun. */
#define _GNU_SOURCE
#include "wait/sleep.h"

#include <errno.h>

#include "base/clock.h"
#include "base/sys.h"
#include "wait/spin.h"

#define LONGEST_S 86400

uint32_t sleep_cancels;

uint64_t sleep_deadline(const struct timespec *timeout)
{
	uint64_t ns;

	if (!timeout)
		return CLOCK_NEVER;
	if (timeout->tv_sec > 1000000000)
		return CLOCK_NEVER - 1;
	ns = (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
	return ns ? clock_now_ns() + ns : 0;
}

uint64_t sleep_deadline_ms(int timeout_ms)
{
	if (timeout_ms < 0)
		return CLOCK_NEVER;
	return timeout_ms ? clock_now_ns() + (uint64_t)timeout_ms * 1000000u : 0;
}

static struct timespec time_left(uint64_t deadline_ns)
{
	uint64_t now, left;

	if (deadline_ns == CLOCK_NEVER)
		return (struct timespec){LONGEST_S, 0};
	now = clock_now_ns();
	left = deadline_ns > now ? deadline_ns - now : 0;
	return (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
}

/* Left in the middle: no handler may write to `timeout` any more. `of`: the cancel type from before. */
static void sleep_is_left(void *of)
{
	signal_sleep_ends();
	pthread_setcanceltype(*(int *)of, NULL);
}

/* `a`, `b`, `c` and the timeout are the first four arguments, then the mask and its size. */
static long sleep_in(long nr, long a, long b, long c, uint64_t deadline_ns, const sigset_t *mask,
                     struct signal_mark mark)
{
	struct timespec timeout = time_left(deadline_ns);
	struct _pthread_cleanup_buffer left;
	int cancel_type = PTHREAD_CANCEL_DEFERRED;
	uint64_t start = cpu_ticks();
	long result = 0;

	_pthread_cleanup_push(&left, sleep_is_left, &cancel_type);
	signal_sleep_begins(&timeout);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &cancel_type);
	if (!signal_came(mark))
		result = nr == SYS_ppoll ? SYS5(nr, a, b, &timeout, mask, 8) : SYS6(nr, a, b, c, &timeout, mask, 8);
	pthread_setcanceltype(cancel_type, NULL);
	signal_sleep_ends();
	_pthread_cleanup_pop(&left, 0);
	spin_slept(cpu_ticks() - start);
	return result;
}

long sleep_poll(struct pollfd *fds, unsigned long count, uint64_t deadline_ns, const sigset_t *mask,
                struct signal_mark mark)
{
	return sleep_in(SYS_ppoll, (long)fds, (long)count, 0, deadline_ns, mask, mark);
}

long sleep_epoll(int set, struct epoll_event *events, int count, uint64_t deadline_ns, const sigset_t *mask,
                 struct signal_mark mark)
{
	return sleep_in(SYS_epoll_pwait2, set, (long)events, count, deadline_ns, mask, mark);
}
