/* The names of libc that Byway takes the place of (calls.def), each a thin function: is the descriptor ours? If not,
 * libc. Only this folder knows libc's symbols. */
#ifndef BYWAY_INTERPOSE_INTERPOSE_H
#define BYWAY_INTERPOSE_INTERPOSE_H

#include <errno.h>

#include "base/real.h"
#include "sock/sock.h"

#define EXPORT __attribute__((visibility("default")))

/* Starts the library, once; before main by the constructor, or earlier by the first call that makes a descriptor. */
void interpose_start(void);

/* Kernel-style result to libc-style. */
static inline long interpose_result(long result)
{
	if (likely(result >= 0))
		return result;
	errno = (int)-result;
	return -1;
}

/* Descriptors of ours that are about to be given to a program that is not of our family: in SCM_RIGHTS, by exec. */
void interpose_give_away(int fd);

#endif
