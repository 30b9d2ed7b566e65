/* Sets and other processes: fork and exec.
 *
 * Decides what the kernel's set has before another process gets it: what the program registered, since who has it then knows
 * no tags, or no longer. And what an inherited set is here: the kernel's alone, with its sockets. Callers: interpose/, around
 * fork and exec; epoll.c when an inherited set is first used. They do not hold sets_lock; in the child of a fork there is
 * nobody else. */
#define _GNU_SOURCE
#include "wait/set.h"

#include <fcntl.h>

/* -- fork -------------------------------------------------------------------------------------------------------------- */

/* The child may hand the set to a program that knows no tags, or close its sockets: from then on the kernel has what the
 * program registered. */
void epoll_fork_prepare(void)
{
	for (uint32_t i = 0; sets && i < SETS_MAX; i++) {
		if (!load_acquire(&sets[i].state) || sets[i].forked || sets[i].shared || !descriptor_is_inherited(sets[i].fd))
			continue;
		spinlock_acquire(&sets_lock);
		sets[i].shared = 1;
		set_untag_all(&sets[i]);
		spinlock_release(&sets_lock);
	}
}

void epoll_fork_child(void)
{
	sets_lock.held = 0;
	for (uint32_t i = 0; sets && i < SETS_MAX; i++)
		if (sets[i].state) {
			sets[i].forked = 1;
			sets[i].sleepers = 0;
			sets[i].pairs_count = 0;
			set_own_bell_close(&sets[i]);
		}
}

/* A set that this process inherited: its sockets go back to the kernel when it is first used here. */
void set_forked_use(struct set *set)
{
	for (uint32_t i = 0; i < ITEMS_MAX; i++)
		if (items[i].set == set_number(set) && sock_enter(&socks[items[i].sock], items[i].fd) == 0)
			sock_leave(&socks[items[i].sock]);
	set->forked = 2;
}

/* -- exec -------------------------------------------------------------------------------------------------------------- */

/* 1, and a copy of the item, when it is of this set: no ring is watched for it any more. */
static int unwatch(struct set *set, struct item *item, struct item *copy)
{
	uint32_t number = set_number(set);

	spinlock_acquire(&sets_lock);
	if (item->set == number)
		set_collect(set); /* what has not been shown stays an edge */
	if (item->set == number && item->tagged)
		item_tag_ends(item);
	if (item->set == number && sock_is_engine(item_sock(item)))
		set_watch_end(set, item_sock(item));
	else if (item->set == number)
		item_leave_exact(set, item);
	*copy = *item;
	spinlock_release(&sets_lock);
	return copy->set == number;
}

/* The next image finds the item as this one registered it. Behind a relay another item of the set may have its place: the
 * same is right for that. One that has fired was taken out: the next image may arm it. */
static void stay_registered(struct set *set, struct item *item, const struct item *before)
{
	struct epoll_event fired = {.events = EPOLLONESHOT, .data.u64 = before->data};

	spinlock_acquire(&sets_lock);
	if (item->set == set_number(set))
		item_leave_exact(set, item);
	spinlock_release(&sets_lock);
	if (before->absent && !set->forked)
		sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, before->fd, &fired);
}

void epoll_set_passes(uint32_t index)
{
	for (uint32_t i = 0; i < ITEMS_MAX; i++) {
		struct item item;

		if (!unwatch(&sets[index], &items[i], &item) || !sock_is_engine(&socks[item.sock]))
			continue;
		sock_into_kernel(&socks[item.sock], item.fd, reason_inherited);
		stay_registered(&sets[index], &items[i], &item);
	}
}
