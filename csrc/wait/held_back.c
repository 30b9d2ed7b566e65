/* Keeps signals that came inside a critical section and sends them again, with all they carried. */
#include <signal.h>
#include <string.h>

#include "base/critical.h"
#include "base/cpu.h"
#include "base/sys.h"
#include "wait/signal.h"

#define HELD_BACK_MAX 16 /* more of them in one critical section: the oldest stay, as with full real-time queues */

static __thread struct {
	int signal;
	siginfo_t info;
} kept[HELD_BACK_MAX];

static void deliver(void)
{
	uint64_t all = UINT64_MAX, before;

	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, 8);
	for (uint32_t i = 0; i < thread.held_back; i++)
		SYS4(SYS_rt_tgsigqueueinfo, sys_getpid(), thread_id(), kept[i].signal, &kept[i].info);
	thread.held_back = 0;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
}

void signal_hold_back(int signal, const void *info)
{
	uint32_t index = thread.held_back;

	if (index >= HELD_BACK_MAX)
		return;
	kept[index].signal = signal;
	memcpy(&kept[index].info, info, sizeof(siginfo_t));
	store_relaxed(&critical_deliver, deliver);
	thread.held_back = index + 1;
}
