/* Who pushes looks at the lock afterwards; who lets go of the lock looks at the list afterwards: one of the two sees the other. */
#include "stack/work.h"

void work_make(struct work *work, struct work_node *nodes, uint32_t count)
{
	*work = (struct work){.first = WORK_NONE, .count = count};
	for (uint32_t i = 0; i < count; i++)
		nodes[i] = (struct work_node){.next = WORK_NONE};
}

static void push(struct work *work, struct work_node *nodes, uint32_t index)
{
	uint32_t first = load_relaxed(&work->first);

	do
		store_relaxed(&nodes[index].next, first);
	while (!compare_swap(&work->first, &first, index));
}

/* The mark goes before the work is looked at: who makes work after that puts the socket on the list again. */
static void empty_list(struct work *work, struct work_node *nodes, work_serve *serve, void *of)
{
	uint32_t index;

	while ((index = exchange(&work->first, WORK_NONE)) != WORK_NONE)
		for (uint32_t walked = 0; index < work->count && walked < work->count; walked++) {
			uint32_t next = load_relaxed(&nodes[index].next);

			exchange(&nodes[index].listed, 0);
			serve(of, index);
			index = next;
		}
}

void work_do_left(struct work *work, struct work_node *nodes, work_serve *serve, void *of)
{
	do
		empty_list(work, nodes, serve, of);
	while (!work_let_go(work) && lock_try(&work->lock));
}

int work_leave(struct work *work, struct work_node *nodes, uint32_t index, work_serve *serve, void *of)
{
	if (likely(lock_try(&work->lock))) {
		serve(of, index);
	} else {
		if (!exchange(&nodes[index].listed, 1))
			push(work, nodes, index);
		if (!lock_try(&work->lock))
			return 0;
	}
	work_release(work, nodes, serve, of);
	return 1;
}
