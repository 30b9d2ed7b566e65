/* The limit: 64 bytes to another process and back through bare shared memory.
 *
 * Two processes, each on a processor of its own; a direction is one line with a sequence number and one with the
 * message. Release to publish, acquire to take, `pause` in between, one 64-byte copy on either side, and nothing else:
 * no sleeping, no end, no second connection. Whatever carries messages between processes cannot be faster. */
#define _GNU_SOURCE
#include "measure.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WARM_UP_ROUNDS 10000

struct direction {
	_Alignas(64) _Atomic uint64_t sequence; /* messages published so far */
	_Alignas(64) char message[MESSAGE_BYTES];
};

struct memory {
	struct direction there, back;
};

static void pin(size_t processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		fail("sched_setaffinity");
}

static inline void put(struct direction *direction, uint64_t sequence, const char *message)
{
	memcpy(direction->message, message, MESSAGE_BYTES);
	atomic_store_explicit(&direction->sequence, sequence, memory_order_release);
}

static inline void take(struct direction *direction, uint64_t sequence, char *message)
{
	while (atomic_load_explicit(&direction->sequence, memory_order_acquire) < sequence)
		measure_pause();
	memcpy(message, direction->message, MESSAGE_BYTES);
}

static void echo_for_ever(struct memory *memory, size_t processor)
{
	char message[MESSAGE_BYTES];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(processor);
	for (uint64_t sequence = 1;; sequence++) {
		take(&memory->there, sequence, message);
		put(&memory->back, sequence, message);
	}
}

static inline void round_trip(struct memory *memory, uint64_t sequence, char *message)
{
	put(&memory->there, sequence, message);
	take(&memory->back, sequence, message);
}

static void measure(struct memory *memory, double seconds, struct samples *samples)
{
	char message[MESSAGE_BYTES] = "bare";
	uint64_t sequence = 1;

	while (sequence <= WARM_UP_ROUNDS)
		round_trip(memory, sequence++, message);
	samples_start(samples);
	for (uint64_t before = measure_ticks(); !samples_done(samples, seconds);) {
		round_trip(memory, sequence++, message);
		uint64_t after = measure_ticks();
		samples_add(samples, after - before);
		before = after;
	}
	samples_end(samples);
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	struct memory *memory;
	pid_t child;

	if (argc != 4)
		usage("bare_pingpong SECONDS PROCESSOR PROCESSOR");
	memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0)
		echo_for_ever(memory, strtoul(argv[2], NULL, 10));
	pin(strtoul(argv[3], NULL, 10));
	measure(memory, atof(argv[1]), &samples);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	samples_print(&samples);
	return 0;
}
