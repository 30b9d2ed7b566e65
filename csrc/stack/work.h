/* The stack's lock, and the work that is left for who holds it (docs/engine.md, section 3; models/deferred_work.pml).
 *
 * Who has made work for a socket never waits for the lock: it is done at once by whoever has the lock, or by the caller, who takes it
 * where it is free. Any thread of any process that maps the stack. */
#ifndef BYWAY_STACK_WORK_H
#define BYWAY_STACK_WORK_H

#include <stdint.h>

#include "base/lock.h"

#define WORK_NONE 0xffffffffu

/* Of each socket. */
struct work_node {
	uint32_t next; /* on the list; WORK_NONE: the last */
	uint32_t listed; /* 1: it stands on the list, or is about to; exchanged */
};
_Static_assert(sizeof(struct work_node) == 8, "one word");

struct work {
	uint64_t lock; /* base/lock.h */
	uint32_t first; /* of the list; WORK_NONE: nobody has left work. Pushed by compare-and-swap, taken as a whole */
	uint32_t count; /* of nodes */
};

/* What is to be done for a socket, under the lock: all that has been made before the call. `of`: the stack. */
typedef void work_serve(void *of, uint32_t index);

void work_make(struct work *work, struct work_node *nodes, uint32_t count);

/* Work has been made for socket `index`: it is done when this returns, or who has the lock does it; of a holder that
 * has died, who comes by work_hold. 1: the lock was taken. */
int work_leave(struct work *work, struct work_node *nodes, uint32_t index, work_serve *serve, void *of);

/* For what must have the lock itself: waits for it. 1: its holder had died, and what it was about is to be repaired first. */
static inline int work_hold(struct work *work)
{
	return lock_acquire(&work->lock);
}

/* Lets go. 0: somebody has left work meanwhile. */
static inline int work_let_go(struct work *work)
{
	lock_release_fenced(&work->lock);
	return likely(load_relaxed(&work->first) == WORK_NONE);
}

/* Does what others left, and lets go. */
void work_do_left(struct work *work, struct work_node *nodes, work_serve *serve, void *of);

/* The same, quick when there is nothing. */
static inline void work_release(struct work *work, struct work_node *nodes, work_serve *serve, void *of)
{
	if (unlikely(load_relaxed(&work->first) != WORK_NONE) || (unlikely(!work_let_go(work)) && lock_try(&work->lock)))
		work_do_left(work, nodes, serve, of);
}

#endif
