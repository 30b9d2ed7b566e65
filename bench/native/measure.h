/* What the measuring programs share: a clock, a store of samples, and the summary that bench/harness.py reads.
 *
 * Every sample is the time between two readings of the same clock, so that the cost of one reading is in every figure
 * alike: bare memory, kernel and Byway. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define MESSAGE_BYTES 64
#define SAMPLES_MAX (4u << 20)

static inline uint64_t measure_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A finer and cheaper clock, in ticks of its own; samples_print() finds out how long a tick is. */
static inline uint64_t measure_ticks(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return measure_ns();
#endif
}

static inline void measure_pause(void)
{
#if defined(__x86_64__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline void fail(const char *what)
{
	perror(what);
	exit(1);
}

static inline void usage(const char *text)
{
	fprintf(stderr, "usage: %s\n", text);
	exit(2);
}

/* The times of one run. `ticks` is written from [0] to [count - 1]; what does not fit ends the run. */
struct samples {
	uint32_t *ticks;
	uint32_t count;
	uint64_t first_ticks, last_ticks; /* the same two instants on both clocks, */
	uint64_t first_ns, last_ns;    /* from which the length of a tick follows */
};

static inline void samples_start(struct samples *samples)
{
	if (!samples->ticks) {
		samples->ticks = malloc(SAMPLES_MAX * sizeof(uint32_t));
		if (!samples->ticks)
			fail("malloc");
		memset(samples->ticks, 0xff, SAMPLES_MAX * sizeof(uint32_t)); /* no page fault while measuring */
	}
	samples->count = 0;
	samples->first_ns = measure_ns();
	samples->first_ticks = measure_ticks();
}

static inline void samples_end(struct samples *samples)
{
	samples->last_ns = measure_ns();
	samples->last_ticks = measure_ticks();
}

static inline void samples_add(struct samples *samples, uint64_t ticks)
{
	samples->ticks[samples->count++] = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

/* How long the run has lasted. */
static inline double samples_seconds(const struct samples *samples)
{
	return (double)(measure_ns() - samples->first_ns) / 1e9;
}

/* Whether the run has lasted `seconds`, or has no room left. Looks at the slow clock once in 256 samples. */
static inline int samples_done(const struct samples *samples, double seconds)
{
	if (samples->count == SAMPLES_MAX)
		return 1;
	if (samples->count % 256)
		return 0;
	return samples_seconds(samples) >= seconds;
}

static inline int samples_compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

/* The sample that `share` of all samples do not exceed, in nanoseconds; samples sorted. */
static inline double samples_percentile_ns(const struct samples *samples, double share, double ns_per_tick)
{
	uint32_t index = (uint32_t)(share * (samples->count - 1) + 0.5);

	return samples->ticks[index] * ns_per_tick;
}

/* One line of JSON: how many samples, in how much time, and their percentiles in nanoseconds. */
static inline void samples_print(struct samples *samples)
{
	static const struct {
		const char *name;
		double share;
	} shares[] = {{"min_ns", 0}, {"p50_ns", 0.5}, {"p90_ns", 0.9}, {"p99_ns", 0.99}, {"p999_ns", 0.999}, {"max_ns", 1}};
	double elapsed_ns = (double)(samples->last_ns - samples->first_ns);
	double scale = elapsed_ns / (double)(samples->last_ticks - samples->first_ticks);

	if (!samples->count) {
		fprintf(stderr, "no round was completed\n");
		exit(1);
	}
	qsort(samples->ticks, samples->count, sizeof(uint32_t), samples_compare);
	printf("{\"count\": %u, \"seconds\": %.6f", samples->count, elapsed_ns / 1e9);
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
		printf(", \"%s\": %.1f", shares[i].name, samples_percentile_ns(samples, shares[i].share, scale));
	printf("}\n");
}

#endif
