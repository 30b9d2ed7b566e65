/* What both programs over an adapter are given by bench/wire.py: the memory of a stack, and MAC addresses. */
#ifndef BENCH_XDP_END_H
#define BENCH_XDP_END_H

#include "engine_end.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "vi/xdp.h"

static inline void read_mac(const char *text, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++)
		if (sscanf(text + 2 * i, "%2hhx", &mac[i]) != 1)
			usage("a MAC is twelve digits");
}

static inline struct stack *map_stack(int memory)
{
	struct stat status;
	void *stack;

	if (fstat(memory, &status))
		fail("fstat");
	stack = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory, 0);
	if (stack == MAP_FAILED)
		fail("mmap");
	return stack;
}

#endif
