/* EFAULT instead of a crash: recognises a fault inside copy_guarded or at a fault_load. Signal-safe. */
#ifndef BYWAY_BASE_FAULT_H
#define BYWAY_BASE_FAULT_H

#include <stdint.h>

/* `context` is the ucontext of SIGSEGV or SIGBUS. 1: the copy will return -1; 0: the fault is the program's own. */
int fault_handle(void *context);

/* FAULT_LOADS(table) once in each file that has fault_loads: the table of their places, between two symbols of its own.
 * fault.c lists the tables. (Subsections keep the order begin, loads, end.) */
#define FAULT_LOADS(table) \
	__asm__(".pushsection fault_loads, 0, \"a\", @progbits\n" \
	        ".globl fault_loads_begin_" #table "\n.hidden fault_loads_begin_" #table "\nfault_loads_begin_" #table \
	        ":\n" \
	        ".popsection\n" \
	        ".pushsection fault_loads, 2, \"a\", @progbits\n" \
	        ".globl fault_loads_end_" #table "\n.hidden fault_loads_end_" #table "\nfault_loads_end_" #table ":\n" \
	        ".popsection")

/* The 32 bits at `at`, or all ones where they cannot be read. */
static inline uint64_t fault_load(const void *at)
{
	uint64_t value = UINT32_MAX;

	__asm__("1: movl %1, %k0\n"
	        "2:\n\t"
	        ".pushsection fault_loads, 1, \"a\", @progbits\n\t"
	        ".long 1b - ., 2b - .\n\t"
	        ".popsection"
	        : "+&r"(value)
	        : "m"(*(const uint32_t *)at)
	        : "memory");
	return value;
}

#endif
