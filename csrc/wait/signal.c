/* One entry for all handlers. The program's action of a signal lives in one of two slots; the other is written and then
 * made current, so that the entry reads a whole one without a lock. */
#define _GNU_SOURCE
#include "wait/signal.h"

#include <errno.h>
#include <string.h>

#include "base/critical.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/real.h"
#include "base/sys.h"

#define SIGNALS 65

static struct {
	struct sigaction slots[2];
	uint32_t current;
	uint32_t known; /* slots[current] is what the program believes */
} actions[SIGNALS];

/* The process that changes the table now; 0: none. Not held over fork, where another thread may wait for libc's locks while
 * its handler calls sigaction(2): a child that finds it held by another process takes it over. */
static uint32_t actions_owner;
static int actions_changing; /* the signal whose action is being changed */
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

/* `actions_owner` is held by a thread of the parent that is not here. */
static void install_again(void)
{
	int number = actions_changing;

	if (number && actions[number].known)
		install(number, &actions[number].slots[actions[number].current]);
}

static void actions_acquire(int number)
{
	uint32_t own = (uint32_t)sys_getpid();

	critical_enter();
	for (unsigned tries = 0;; tries++) {
		uint32_t owner = 0;

		if (compare_swap(&actions_owner, &owner, own))
			break;
		if (owner && owner != own && compare_swap(&actions_owner, &owner, own)) {
			install_again();
			break;
		}
		cpu_pause();
		if (tries > 100)
			SYS0(SYS_sched_yield);
	}
	actions_changing = number;
}

static void actions_release(void)
{
	actions_changing = 0;
	store_release(&actions_owner, 0);
	critical_leave();
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
	actions_acquire(number);
	learn(number);
	before = actions[number].slots[actions[number].current];
	if (action) {
		remember(number, &copy);
		result = install(number, &copy);
		if (result)
			remember(number, &before);
	}
	actions_release();
	if (!result && old)
		*old = before;
	return result;
}

void signal_guard_copies(void)
{
	actions_acquire(SIGSEGV);
	if (!copies_guarded) {
		copies_guarded = 1;
		learn(SIGSEGV);
		learn(SIGBUS);
		install(SIGSEGV, &actions[SIGSEGV].slots[actions[SIGSEGV].current]);
		install(SIGBUS, &actions[SIGBUS].slots[actions[SIGBUS].current]);
	}
	actions_release();
}

void signal_fork_child(void)
{
	if (load_relaxed(&actions_owner)) {
		actions_acquire(0);
		actions_release();
	}
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
		signal_hold_back(number, info);
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
