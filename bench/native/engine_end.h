/* One end of a connection of the engine that spins: its stack, its way to the other, its socket; what it sends, and waits for. Shared by
 * the programs that measure round trips of the engine. */
#ifndef BENCH_ENGINE_END_H
#define BENCH_ENGINE_END_H

#include "measure.h"

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <signal.h>

#include "vi/vi.h"

#define WARM_UP_ROUNDS 10000
#define PORT 80
#define CLIENT_PORT 40000
#define OPTION_NODELAY 10 /* csrc/engine/options.def */

/* One end: its stack, its way to the other, its socket. */
struct end {
	struct stack *stack;
	struct vi vi;
	uint32_t socket;
};

static double ns_per_tick;

static inline void pin(size_t processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		fail("sched_setaffinity");
}

/* The time that the engine is told: of the processor's counter, which both ends read alike. */
static inline void begin_clock(void)
{
	uint64_t ns = measure_ns(), ticks = measure_ticks();

	usleep(20000);
	ns_per_tick = (double)(measure_ns() - ns) / (double)(measure_ticks() - ticks);
}

static inline uint64_t now_ns(void)
{
	return (uint64_t)((double)measure_ticks() * ns_per_tick);
}

static inline void check(int64_t result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
	exit(1);
}

static inline void send_message(struct end *end, const char *message)
{
	check(byway_vi_send(&end->vi, end->stack, end->socket, (const uint8_t *)message, MESSAGE_BYTES, 0, now_ns()),
	      "send");
}

static inline void take_message(struct end *end, char *message)
{
	uint32_t done = 0;

	while (done < MESSAGE_BYTES) {
		uint64_t now = now_ns();
		int64_t bytes;

		if (!byway_vi_poll(&end->vi, end->stack, now)) {
			measure_pause();
			continue;
		}
		bytes = byway_tcp_receive(end->stack, end->socket, (uint8_t *)message + done, MESSAGE_BYTES - done, 0, now);
		done += bytes > 0 ? (uint32_t)bytes : 0;
	}
}

static inline void echo_for_ever(struct end *end, size_t processor)
{
	char message[MESSAGE_BYTES];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(processor);
	for (;;) {
		take_message(end, message);
		send_message(end, message);
	}
}

static inline void measure(struct end *end, double seconds, struct samples *samples)
{
	char message[MESSAGE_BYTES] = "a round trip";

	for (int i = 0; i < WARM_UP_ROUNDS; i++) {
		send_message(end, message);
		take_message(end, message);
	}
	samples_start(samples);
	for (uint64_t before = measure_ticks(); !samples_done(samples, seconds);) {
		send_message(end, message);
		take_message(end, message);
		uint64_t after = measure_ticks();
		samples_add(samples, after - before);
		before = after;
	}
	samples_end(samples);
}

#endif
