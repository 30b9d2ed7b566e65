/* EFAULT instead of a crash: recognises a fault inside copy_guarded. Signal-safe. */
#ifndef BYWAY_BASE_FAULT_H
#define BYWAY_BASE_FAULT_H

#include <stdint.h>

/* `context` is the ucontext of SIGSEGV or SIGBUS. 1: the copy will return -1; 0: the fault is the program's own. */
int fault_handle(void *context);

/* The table of the loads that may fault, in the one file that has them (subsections keep the order begin, loads, end). */
#define FAULT_LOADS \
	__asm__(".pushsection fault_loads, 0, \"a\", @progbits\n" \
	        ".globl fault_loads_begin\n.hidden fault_loads_begin\nfault_loads_begin:\n" \
	        ".popsection\n" \
	        ".pushsection fault_loads, 2, \"a\", @progbits\n" \
	        ".globl fault_loads_end\n.hidden fault_loads_end\nfault_loads_end:\n" \
	        ".popsection")

/* The 32 bits at `at`, or all ones where they cannot be read. */
static inline uint64_t fault_load(const void *at)
{
	uint64_t value = UINT32_MAX;

	__asm__("1: movl (%1), %k0\n"
	        "2:\n\t"
	        ".pushsection fault_loads, 1, \"a\", @progbits\n\t"
	        ".long 1b - ., 2b - .\n\t"
	        ".popsection"
	        : "+&r"(value)
	        : "r"(at)
	        : "memory");
	return value;
}

#endif
