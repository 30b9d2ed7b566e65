/* What a thread knows of itself; signals that came inside a critical section are kept in wait/held_back.c. */
#include "base/critical.h"

#include "base/sys.h"

__thread struct thread_state thread;

void (*critical_deliver)(void);

int32_t thread_learn_id(void)
{
	thread.id = (int32_t)sys_gettid();
	return thread.id;
}
