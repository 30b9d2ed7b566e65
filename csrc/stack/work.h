/* The stack's lock, and the work that is left for who holds it (docs/engine.md, section 3; models/deferred_work.pml).
 *
 * Who has made work for a socket never waits for the lock: it is done at once by whoever has the lock, or by the caller, who takes it
 * where it is free. Any thread of any process that maps the stack. */
#ifndef BYWAY_STACK_WORK_H
#define BYWAY_STACK_WORK_H

#include <stdint.h>

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
int work_hold(struct work *work);
/* Does what others left meanwhile, and lets go. */
void work_release(struct work *work, struct work_node *nodes, work_serve *serve, void *of);

#endif
