/* The arena of this process: the shared memory of a family (a process and those it forked), where sockets have slots.
 *
 * Made before the first socket, inherited by fork, left behind by exec. A process that forked maps the arena of its
 * family for ever; what is made after the fork lies in the same arena. Slots are freed when no holder is left. */
#ifndef BYWAY_SHM_ARENA_H
#define BYWAY_SHM_ARENA_H

#include "shm/layout.h"

enum counter {
#define COUNTER(index, name, text) counter_##name = index,
#include "shm/counters.def"
#undef COUNTER
};

enum reason {
#define REASON(code, name, text) reason_##name = code,
#include "shm/reasons.def"
#undef REASON
};

#define ARENA_NONE UINT32_MAX

extern struct shm_arena *arena;
extern uint32_t arena_process; /* our process slot, or ARENA_NONE */
extern int arena_fd;           /* its memfd */

/* 0, or a negative errno: then nothing is accelerated. Call once. */
int arena_start(void);
extern int arena_fd;

/* Our process slot is this process's: a clone(2) that shares memory, or a raw system call, makes others that have our state. */
int arena_is_of_this_process(void);

/* Around exec to an image that does not know the arena: this process counts as gone; or it failed, and lives. */
void arena_exec_begins(void);
void arena_exec_failed(void);
/* In an image that comes after another of the same process: the arena in `fd`, in which it is process slot `process`. 0, or
 * a negative errno: call arena_start. */
int arena_adopt(int fd, uint32_t process);
/* No other living process holds it: those that died do not clear their bits, and a fork may have stopped halfway. */
void arena_socket_hold_alone(uint32_t index);

/* A free socket slot, held by this process, or ARENA_NONE. Its state is SHM_SOCKET_OPEN. */
uint32_t arena_socket_new(void);

/* This process has no descriptor of it any more. Frees the slot when nobody has: then 1. */
int arena_socket_leave(uint32_t index);
int arena_socket_is_sole_holder(uint32_t index);
int arena_socket_holds(uint32_t index, uint32_t process);
/* The process of a slot is known to be gone. The dead do not clear their bits. */
int arena_process_is_gone(uint32_t process);
/* Whether somebody holds the socket of this cookie. */
int arena_knows_cookie(uint64_t cookie);

/* Around fork: a slot for the child (ARENA_NONE: none left), which holds what the parent holds; then either the child
 * takes it, or the parent gives it back because fork failed. Parent and child both write who the child is: it may be dead
 * before it has run, or the parent may close a socket before the child has run. */
uint32_t arena_child_prepare(void);
/* The same for a child that will hold this socket only. */
uint32_t arena_child_prepare_for(uint32_t index);
void arena_child_start(uint32_t process);
void arena_child_known(uint32_t process, long id);
void arena_child_failed(uint32_t process);

const char *arena_reason_text(uint32_t reason);

static inline void count(enum counter counter, uint64_t value)
{
	if (arena)
		__atomic_fetch_add(&arena->counters[counter], value, __ATOMIC_RELAXED);
}

#endif
