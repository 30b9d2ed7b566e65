/* Dies at the crash point that BYWAY_CRASH names. Only test builds call crash_passing. */
#include "base/crash.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/sys.h"

static const char *const names[] = {
#define CRASH(name, text) #name,
#include "base/crash.def"
#undef CRASH
};

static int armed_point = -1;
static int passings_left;

void crash_start(void)
{
	const char *wish = getenv("BYWAY_CRASH");
	const char *colon = wish ? strchr(wish, ':') : NULL;
	size_t bytes = colon ? (size_t)(colon - wish) : wish ? strlen(wish) : 0;

	for (int i = 0; bytes && i < crash_points_count; i++)
		if (strlen(names[i]) == bytes && !memcmp(names[i], wish, bytes))
			armed_point = i;
	passings_left = colon ? atoi(colon + 1) : 1;
}

static __attribute__((unused)) void crash_passing_armed(int point)
{
	if (point == armed_point && __atomic_sub_fetch(&passings_left, 1, __ATOMIC_SEQ_CST) == 0)
		SYS2(SYS_kill, sys_getpid(), SIGKILL);
}

#ifdef BYWAY_CRASH_POINTS
void crash_passing(enum crash_point point)
{
	if (unlikely(armed_point >= 0))
		crash_passing_armed((int)point);
}
#endif
