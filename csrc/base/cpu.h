/* Processor primitives: the pause of a spin loop, the time stamp, the full fence.
 * Any thread, any signal handler. */
#ifndef BYWAY_BASE_CPU_H
#define BYWAY_BASE_CPU_H

#include <stdint.h>

#if defined(__x86_64__)
static inline void cpu_pause(void)
{
	__builtin_ia32_pause();
}
static inline uint64_t cpu_ticks(void)
{
	return __builtin_ia32_rdtsc();
}
/* Fetches the line for reading, in the background. Any address. */
static inline void cpu_prefetch(const void *address)
{
	__builtin_prefetch(address);
}
/* Fetches the line for writing, in the background. (__builtin_prefetch would fetch it for reading only: compilers
 * take prefetchw for an extension; every x86-64 processor since 2014 has it, and older ones do nothing.) */
static inline void cpu_prefetch_write(const void *address)
{
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
}
/* `sum` and the words at `from`, at any alignment; what goes over the top comes in again at the bottom. (Compilers make three
 * instructions of what one does here.) */
static inline uint64_t cpu_add_carry4(uint64_t sum, const void *from)
{
	__asm__("addq (%1), %0\n\tadcq 8(%1), %0\n\tadcq 16(%1), %0\n\tadcq 24(%1), %0\n\tadcq $0, %0"
	        : "+r"(sum)
	        : "r"(from), "m"(*(const char (*)[32])from)
	        : "cc");
	return sum;
}
static inline uint64_t cpu_add_carry8(uint64_t sum, const void *from)
{
	__asm__("addq (%1), %0\n\tadcq 8(%1), %0\n\tadcq 16(%1), %0\n\tadcq 24(%1), %0\n\t"
	        "adcq 32(%1), %0\n\tadcq 40(%1), %0\n\tadcq 48(%1), %0\n\tadcq 56(%1), %0\n\tadcq $0, %0"
	        : "+r"(sum)
	        : "r"(from), "m"(*(const char (*)[64])from)
	        : "cc");
	return sum;
}
#else
#error "Byway is built for x86-64 only; on other processors programs stay on the kernel"
#endif

/* The compiler knows nothing of the variable's value from here. Of a copy that it knows to be small it makes a loop of its own, which
 * takes longer than libc's. */
#define cpu_hide(variable) __asm__("" : "+r"(variable))

#define cpu_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define fetch_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define fetch_or(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define fetch_and(p, v) __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
#define exchange(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
/* Strong compare-and-swap, a full fence when it succeeds; *expected is updated when it fails. */
#define compare_swap(p, expected, desired) \
	__atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)

#endif
