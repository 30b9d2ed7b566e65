/* Calibrates processor ticks: the library's start and the first attach are the two samples. */
#include "base/clock.h"

#include <time.h>

#define CALIBRATION_NS_MIN 50000

uint64_t clock_ticks_per_us = 2000;

static uint64_t start_ticks;
static uint64_t start_ns;

uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void clock_start(void)
{
	start_ns = clock_now_ns();
	start_ticks = cpu_ticks();
}

void clock_calibrate(void)
{
	static uint32_t done;
	uint64_t elapsed_ns, ticks;

	if (load_acquire(&done))
		return;
	do {
		elapsed_ns = clock_now_ns() - start_ns;
		ticks = cpu_ticks() - start_ticks;
	} while (elapsed_ns < CALIBRATION_NS_MIN);
	clock_ticks_per_us = ticks * 1000 / elapsed_ns + 1;
	store_release(&done, 1);
}
