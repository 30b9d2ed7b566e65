/* The names of libc that Byway takes the place of (calls.def), each a thin function: is the descriptor ours? If not,
 * libc. Only this folder knows libc's symbols. */
#ifndef BYWAY_INTERPOSE_INTERPOSE_H
#define BYWAY_INTERPOSE_INTERPOSE_H

#include <errno.h>

#include "base/real.h"
#include "sock/sock.h"

#define EXPORT __attribute__((visibility("default")))
/* Another name of an exported function. */
#define EXPORT_AS(name, function) \
	__asm__(".globl " #name "\n\t.type " #name ", @function\n\t.set " #name ", " #function)
/* A variadic function of libc, exported as one that takes what it may be given: it costs nothing to pass on. */
#define EXPORT_NAME(name) __asm__(name) __attribute__((visibility("default")))
/* Away from the exported function, whose way to libc then saves no registers: at most 15 instructions more than without
 * Byway for a descriptor that is not ours (tests/exports). */
#define APART __attribute__((noinline)) static

/* Starts the library, once; before main by the constructor, or earlier by the first call that makes a descriptor. */
void interpose_start(void);

/* Nothing of ours, and no descriptor that is to be looked at twice: to libc. */
static inline int is_foreign(int fd)
{
	return likely(!descriptor_entry(fd));
}

/* Kernel-style result to libc-style. */
static inline long interpose_result(long result)
{
	if (likely(result >= 0))
		return result;
	errno = (int)-result;
	return -1;
}

/* A descriptor of ours that is about to be given to a program that is not of our family: in SCM_RIGHTS, by exec. Another
 * socket may lie behind it then. */
void interpose_give_away(int fd);

#endif
