/* epoll_wait(2).
 *
 * Decides whom a wait asks, and when: the rings, then the kernel; it spins, then sleeps in the kernel with the set's bells
 * asked for. A bell wakes one of those who sleep on a set, so who is woken, or found the bell without sleeping, passes on
 * what it leaves. Caller: interpose/. Takes sets_lock for moments, never while it spins or sleeps. */
#define _GNU_SOURCE
#include "wait/epoll.h"

#include <errno.h>

#include "base/clock.h"
#include "base/critical.h"
#include "wait/set.h"
#include "wait/signal.h"
#include "wait/sleep.h"
#include "wait/spin.h"

#define KERNEL_TURN_US 20    /* rings that fill the program's array leave the kernel out for so long at most */
#define SPIN_KERNEL_ASK_US 5 /* while spinning */

/* The rings' events and the kernel's, each time: what the program did before the call must show. */
static long look(struct set *set, int fd, struct epoll_event *events, int count)
{
	int overdue = cpu_ticks() - load_relaxed(&set->kernel_asked) > clock_ticks_of_us(KERNEL_TURN_US);
	int have;

	if (count == 1 && overdue) {
		long got = set_kernel_gives(set, fd, events, 0, 1);

		if (got)
			return got;
	}
	have = set_rings_give(set, events, count - (count > 1 && overdue));
	return have == count ? have : set_kernel_gives(set, fd, events, have, count);
}

/* The same before a wait. Where a sleep follows at once, that asks the kernel. */
static long look_before(struct set *set, int fd, struct epoll_event *events, int count, int spins)
{
	return spins || set_rings_have_posted(set) ? look(set, fd, events, count) : 0;
}

/* A signal interrupts a wait that has nothing to give. */
static long interrupted(struct set *set, int fd, struct epoll_event *events, int count)
{
	long found = look(set, fd, events, count);

	return found ? found : -EINTR;
}

/* 1: look; 0: sleep. Kernel events found on the way are in *found. */
static int spin_for_events(struct set *set, int fd, struct epoll_event *events, int count, long *found,
                           struct signal_mark mark)
{
	struct spin spin;

	spin_begin(&spin);
	while (spin_turn(&spin)) {
		if (set_rings_have_posted(set) || signal_came(mark)) {
			spin_won(&spin);
			return 1;
		}
		if (spin_should_ask(&spin, SPIN_KERNEL_ASK_US)) {
			*found = set_kernel_gives(set, fd, events, 0, count);
			if (*found) {
				spin_won(&spin);
				return 1;
			}
		}
	}
	spin_lost(&spin);
	return 0;
}

static void sleep_publish(struct set *set)
{
	spinlock_acquire(&sets_lock);
	set->sleepers++;
	set_ask_for_bells(set);
	spinlock_release(&sets_lock);
}

/* The bit stays while others sleep: who wakes first looks at the rings after setting it again. */
static void sleep_withdraw(struct set *set)
{
	spinlock_acquire(&sets_lock);
	if (set->sleepers)
		set->sleepers--;
	if (set->sleepers || set->polled)
		set_ask_for_bells(set);
	else
		for (uint32_t i = 0; i < set->pairs_count; i++)
			fetch_and(&pair_own(set->pairs[i].pair)->set_sleep_mask, ~(1u << set->pairs[i].bell));
	spinlock_release(&sets_lock);
}

/* Cancelled in the sleep, or left by a handler's longjmp. */
static void sleep_is_left(void *of)
{
	struct set **set = of;

	critical_enter();
	if (*set)
		sleep_withdraw(*set);
	*set = NULL;
	critical_leave();
}

/* `asked`: 1 where the kernel has been asked, and has nothing. */
static long sleep_for_events(struct set *set, int fd, struct epoll_event *events, int room, uint64_t deadline_ns,
                             const sigset_t *mask, struct signal_mark mark, int *asked)
{
	struct _pthread_cleanup_buffer left;
	struct set *slept_on = set; /* NULL: given back */
	long got = 0;

	*asked = 0;
	critical_enter();
	sleep_publish(set);
	_pthread_cleanup_push(&left, sleep_is_left, &slept_on);
	critical_leave();
	if (!set_rings_have_posted(set)) {
		if (set->pairs_count)
			count(counter_sleeps, 1);
		got = sleep_epoll(fd, events, room, deadline_ns, mask, mark);
		*asked = got == 0 && !signal_came(mark); /* one that has come may have kept us from asking */
		store_relaxed(&set->kernel_asked, cpu_ticks());
	}
	critical_enter();
	_pthread_cleanup_pop(&left, 1);
	critical_leave();
	return got > 0 ? set_take_in(set, fd, events, 0, (int)got, room) : got;
}

/* The bell may have come together with the kernel's events, and somebody else sleeps: the rings are his. */
static void pass_bell_on(struct set *set)
{
	spinlock_acquire(&sets_lock);
	if ((set->sleepers || set->polled) && set_rings_have_posted(set))
		set_wake(set);
	spinlock_release(&sets_lock);
}

static long wait_loop(struct set *set, int fd, struct epoll_event *events, int count, uint64_t deadline_ns,
                      const sigset_t *mask)
{
	struct signal_mark mark = signal_now();

	for (;;) {
		int spins = !mask && set->pairs_count && spin_is_due();
		int is_poll = deadline_ns == 0 && !mask; /* with a mask the kernel must look for signals */
		long found = is_poll ? look(set, fd, events, count) : look_before(set, fd, events, count, spins);
		int have, asked;

		if (found || is_poll)
			return found;
		if (signal_came(mark))
			return interrupted(set, fd, events, count);
		if (!mask && set->pairs_count && spin_for_events(set, fd, events, count, &found, mark)) {
			if (found)
				return found;
			continue;
		}
		found = sleep_for_events(set, fd, events, count, deadline_ns, mask, mark, &asked);
		if (set_of(fd) != set)
			return -EBADF;
		if (found > 0) {
			pass_bell_on(set);
			return found;
		}
		have = set_rings_give(set, events, count);
		if (have)
			return have;
		if (signal_came(mark))
			return interrupted(set, fd, events, count);
		/* -EINTR also without a handler: SIGCONT, or a signal that another thread has blocked (signal(7)) */
		if (found < 0)
			return found;
		if (deadline_ns != CLOCK_NEVER && clock_now_ns() >= deadline_ns)
			return asked ? 0 : set_kernel_gives(set, fd, events, 0, count);
	}
}

long epoll_wait_events(int set_fd, struct epoll_event *events, int count, uint64_t deadline_ns, const sigset_t *mask)
{
	struct set *set = set_of(set_fd);

	sleep_cancel_point();
	if (set->forked == 1)
		set_forked_use(set);
	set_tell_of_members(set);
	return wait_loop(set, set_fd, events, count, deadline_ns, mask);
}
