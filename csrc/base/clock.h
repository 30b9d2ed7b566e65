/* Time for deadlines and spins: nanoseconds of CLOCK_MONOTONIC, and processor ticks calibrated against it.
 * Any thread; clock_calibrate once before the first clock_ticks_of_ns. */
#ifndef BYWAY_BASE_CLOCK_H
#define BYWAY_BASE_CLOCK_H

#include "base/cpu.h"

#define CLOCK_NEVER UINT64_MAX

uint64_t clock_now_ns(void);
void clock_start(void);
void clock_calibrate(void);

extern uint64_t clock_ticks_per_us;

static inline uint64_t clock_ticks_of_us(uint64_t microseconds)
{
	return microseconds * clock_ticks_per_us;
}

#endif
