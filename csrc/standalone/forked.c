/* A process that loads the engine alone, without the preload library (which has csrc/interpose/fork.c), may fork: the child is another
 * owner of locks. A child that was made behind libc's back (_Fork(3), clone(2)) must not use a stack. */
#include <pthread.h>

#include "base/critical.h"

static void forget_id(void)
{
	thread.id = 0;
}

static __attribute__((constructor)) void hear_of_forks(void)
{
	pthread_atfork(NULL, NULL, forget_id);
}
