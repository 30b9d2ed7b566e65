/* Calls that set handlers (sigaction(2), signal(2), sigset(3), siginterrupt(3)): all end in signal_action. And masks, and
 * pthread_cancel(3). */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>

#include "interpose/interpose.h"
#include "wait/signal.h"
#include "wait/sleep.h"

int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
__sighandler_t ssignal(int number, __sighandler_t handler);
__sighandler_t bsd_signal(int number, __sighandler_t handler);
__sighandler_t sysv_signal(int number, __sighandler_t handler);
__sighandler_t __sysv_signal(int number, __sighandler_t handler);

static sigset_t interrupting; /* siginterrupt(number, 1) */

EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	return signal_action(number, action, old);
}

EXPORT int __sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	return signal_action(number, action, old);
}

static __sighandler_t set_handler(int number, __sighandler_t handler, int flags, int block_itself)
{
	struct sigaction action, old;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = flags;
	if (block_itself)
		sigaddset(&action.sa_mask, number);
	if (handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	return signal_action(number, &action, &old) ? SIG_ERR : old.sa_handler;
}

EXPORT __sighandler_t signal(int number, __sighandler_t handler)
{
	return set_handler(number, handler, sigismember(&interrupting, number) == 1 ? 0 : SA_RESTART, 1);
}

EXPORT __sighandler_t ssignal(int number, __sighandler_t handler)
{
	return signal(number, handler);
}

EXPORT __sighandler_t bsd_signal(int number, __sighandler_t handler)
{
	return signal(number, handler);
}

EXPORT __sighandler_t sysv_signal(int number, __sighandler_t handler)
{
	return set_handler(number, handler, (int)SA_RESETHAND | SA_NODEFER, 0);
}

EXPORT __sighandler_t __sysv_signal(int number, __sighandler_t handler)
{
	return sysv_signal(number, handler);
}

/* sigset(3): SIG_HOLD blocks; anything else sets the handler and unblocks. The old disposition, or SIG_HOLD. */
EXPORT __sighandler_t sigset(int number, __sighandler_t handler)
{
	sigset_t one, before;
	__sighandler_t old;
	struct sigaction current;

	sigemptyset(&one);
	if (sigaddset(&one, number))
		return SIG_ERR;
	if (handler == SIG_HOLD) {
		if (sigprocmask(SIG_BLOCK, &one, &before) || signal_action(number, NULL, &current))
			return SIG_ERR;
		return sigismember(&before, number) ? SIG_HOLD : current.sa_handler;
	}
	old = set_handler(number, handler, 0, 0);
	if (old == SIG_ERR || sigprocmask(SIG_UNBLOCK, &one, &before))
		return SIG_ERR;
	return sigismember(&before, number) ? SIG_HOLD : old;
}

EXPORT int siginterrupt(int number, int interrupt)
{
	struct sigaction action;

	if (signal_action(number, NULL, &action))
		return -1;
	if (interrupt) {
		sigaddset(&interrupting, number);
		action.sa_flags &= ~SA_RESTART;
	} else {
		sigdelset(&interrupting, number);
		action.sa_flags |= SA_RESTART;
	}
	return signal_action(number, &action, NULL);
}

/* -- cancellation ---------------------------------------------------------------------------------------------------------- */

EXPORT int pthread_cancel(pthread_t target)
{
	store_release(&sleep_cancels, 1);
	return REAL(pthread_cancel)(target);
}

/* -- masks: SIGSEGV and SIGBUS stay open, so that a bad pointer in a copy is EFAULT and not death ------------------------ */

static __thread sigset_t believed; /* what of these two the program believes to have blocked */

static const int kept_open[] = {SIGSEGV, SIGBUS};

static void believe(int how, const sigset_t *set)
{
	for (size_t i = 0; i < sizeof(kept_open) / sizeof(*kept_open); i++) {
		int named = sigismember(set, kept_open[i]) == 1;

		if (named && how != SIG_UNBLOCK)
			sigaddset(&believed, kept_open[i]);
		else if (named ? how == SIG_UNBLOCK : how == SIG_SETMASK)
			sigdelset(&believed, kept_open[i]);
	}
}

/* `real` is libc's function of the same form; its result is returned. */
static int change_mask(int (*real)(int, const sigset_t *, sigset_t *), int how, const sigset_t *set, sigset_t *old)
{
	sigset_t before = believed, open;
	int result;

	if (thread.vforked) /* `believed` is the parent's */
		return real(how, set, old);
	if (set) {
		open = *set;
		for (size_t i = 0; i < sizeof(kept_open) / sizeof(*kept_open) && how != SIG_UNBLOCK; i++)
			sigdelset(&open, kept_open[i]);
	}
	if (set && how >= SIG_BLOCK && how <= SIG_SETMASK)
		believe(how, set);
	result = real(how, set ? &open : NULL, old);
	for (size_t i = 0; !result && old && i < sizeof(kept_open) / sizeof(*kept_open); i++)
		if (sigismember(&before, kept_open[i]) == 1)
			sigaddset(old, kept_open[i]);
	return result;
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return change_mask(REAL(sigprocmask), how, set, old);
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return change_mask(REAL(pthread_sigmask), how, set, old);
}
