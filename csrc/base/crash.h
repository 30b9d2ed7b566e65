/* Crash points (crash.def): nothing in a release build; in a test build a place where the process can be made to die.
 * Any thread, any signal handler. */
#ifndef BYWAY_BASE_CRASH_H
#define BYWAY_BASE_CRASH_H

enum crash_point {
#define CRASH(name, text) crash_##name,
#include "base/crash.def"
#undef CRASH
	crash_points_count
};

#ifdef BYWAY_CRASH_POINTS
void crash_passing(enum crash_point point);
#define CRASH_POINT(name) crash_passing(crash_##name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

void crash_start(void);

#endif
