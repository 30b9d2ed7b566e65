/* One entry for all handlers. The program's action of a signal lives in one of two slots; the other is written and then
 * made current, so that the entry reads a whole one without a lock. */
#define _GNU_SOURCE
#include "wait/signal.h"

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/real.h"
#include "base/spinlock.h"
#include "base/sys.h"

#define SIGNALS 65

static struct {
	struct sigaction slots[2];
	uint32_t current;
	uint32_t known; /* slots[current] is what the program believes */
} actions[SIGNALS];

static struct spinlock actions_lock;
static uint32_t copies_guarded;

static void entry(int number, siginfo_t *info, void *context);

static int is_fault(int number)
{
	return number == SIGSEGV || number == SIGBUS;
}

static int is_handler(const struct sigaction *action)
{
	return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

/* What the kernel is told: our entry, with the program's mask and flags. */
static int install(int number, const struct sigaction *program)
{
	struct sigaction ours = *program;
	int guard = is_fault(number) && copies_guarded && program->sa_handler != SIG_IGN;

	if (is_handler(program) || guard) {
		ours.sa_sigaction = entry;
		ours.sa_flags = (program->sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
		if (guard && !is_handler(program)) {
			ours.sa_flags |= SA_ONSTACK | SA_NODEFER;
			sigemptyset(&ours.sa_mask);
		}
	}
	sigdelset(&ours.sa_mask, SIGSEGV);
	sigdelset(&ours.sa_mask, SIGBUS);
	return REAL(sigaction)(number, &ours, NULL);
}

static void learn(int number)
{
	if (actions[number].known)
		return;
	REAL(sigaction)(number, NULL, &actions[number].slots[actions[number].current]);
	actions[number].known = 1;
}

static void remember(int number, const struct sigaction *program)
{
	uint32_t other = 1 - actions[number].current;

	actions[number].slots[other] = *program;
	store_release(&actions[number].current, other);
}

/* A vfork child has the kernel's actions to itself, and our table in common with its parent: it is told what the table says,
 * and changes the kernel's alone. */
static int action_of_vforked(int number, const struct sigaction *action, struct sigaction *old)
{
	int result = REAL(sigaction)(number, action, old);

	if (!result && old && old->sa_sigaction == entry)
		*old = actions[number].slots[load_acquire(&actions[number].current)];
	return result;
}

int signal_action(int number, const struct sigaction *action, struct sigaction *old)
{
	struct sigaction before, copy;
	int result = 0;

	if (unlikely(thread.vforked))
		return action_of_vforked(number, action, old);
	if (number < 1 || number >= SIGNALS || number == 32 || number == 33)
		return REAL(sigaction)(number, action, old);
	if (action)
		copy = *action;
	spinlock_acquire(&actions_lock);
	learn(number);
	before = actions[number].slots[actions[number].current];
	if (action) {
		remember(number, &copy);
		result = install(number, &copy);
		if (result)
			remember(number, &before);
	}
	spinlock_release(&actions_lock);
	if (!result && old)
		*old = before;
	return result;
}

void signal_guard_copies(void)
{
	spinlock_acquire(&actions_lock);
	if (!copies_guarded) {
		copies_guarded = 1;
		learn(SIGSEGV);
		learn(SIGBUS);
		install(SIGSEGV, &actions[SIGSEGV].slots[actions[SIGSEGV].current]);
		install(SIGBUS, &actions[SIGBUS].slots[actions[SIGBUS].current]);
	}
	spinlock_release(&actions_lock);
}

void signal_fork_prepare(void)
{
	spinlock_acquire(&actions_lock);
}

void signal_fork_parent(void)
{
	spinlock_release(&actions_lock);
}

void signal_fork_child(void)
{
	actions_lock.held = 0;
}

/* The program has no handler for its fault: let the kernel do what it would have done. */
static void default_fault(int number, const siginfo_t *info)
{
	struct sigaction none;

	memset(&none, 0, sizeof(none));
	none.sa_handler = SIG_DFL;
	REAL(sigaction)(number, &none, NULL);
	if (info->si_code <= 0) /* sent by somebody, not by the instruction we return to */
		sys_kill_thread(sys_getpid(), thread_id(), number);
}

static void arrived(int flags)
{
	thread.arrivals++;
	if (!(flags & SA_RESTART))
		thread.interruptions++;
	if (thread.sleeping) {
		thread.sleeping->tv_sec = 0;
		thread.sleeping->tv_nsec = 0;
	}
}

static void reset_action(int number)
{
	struct sigaction none;

	memset(&none, 0, sizeof(none));
	none.sa_handler = SIG_DFL;
	remember(number, &none);
	install(number, &none);
}

static void entry(int number, siginfo_t *info, void *context)
{
	const struct sigaction program = actions[number].slots[load_acquire(&actions[number].current)];
	int saved_errno = errno;

	if (is_fault(number) && fault_handle(context))
		return;
	if (!is_handler(&program)) {
		if (is_fault(number))
			default_fault(number, info);
		return;
	}
	if (thread.critical && !(is_fault(number) && info->si_code > 0)) {
		critical_hold_back(number, info);
		return;
	}
	arrived(program.sa_flags);
	if (program.sa_flags & (int)SA_RESETHAND)
		reset_action(number);
	errno = saved_errno;
	if (program.sa_flags & SA_SIGINFO)
		program.sa_sigaction(number, info, context);
	else
		program.sa_handler(number);
}
