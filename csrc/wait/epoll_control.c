/* epoll_ctl(2) of a socket of ours.
 *
 * Decides what the kernel is told of it, and what it answers where it is not asked: an item that is tagged, or that fired and
 * is not in the kernel's set, answers as Linux would. Caller: interpose/. Takes sets_lock; a call that adds a socket which
 * the set cannot watch ends with that socket in the kernel. */
#define _GNU_SOURCE
#include "wait/epoll.h"

#include <errno.h>

#include "base/copy.h"
#include "wait/set.h"

#define EXCLUSIVE_MAY (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)

/* The kernel alone speaks for `fd` in this set. Another socket may lie behind it then (sock/relay.c), and no item of ours
 * would bring that one there: so it is registered when that is known. */
static void leave_to_kernel(const struct set *set, struct sock *sock, int fd, const struct epoll_event *event)
{
	struct epoll_event registration = *event;

	sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, fd, NULL);
	sock_into_kernel(sock, fd, set->forked ? reason_shared : reason_table_full);
	sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &registration);
}

/* No bell can tell of it: so nothing new may come by its ring. What is unread there is ready now, the kernel tells of the
 * rest. */
static void stay_unwatched(struct set *set, struct sock *sock, struct item *item, int fd, enum reason reason)
{
	sock_never(sock, fd, reason);
	spinlock_acquire(&sets_lock);
	if (item->set == set_number(set) && item_sock(item) == sock && item_events(item)) {
		set_ready_add(set, item);
		set_wake(set);
	}
	spinlock_release(&sets_lock);
}

static long control_add(struct set *set, struct sock *sock, int fd, const struct epoll_event *event)
{
	struct epoll_event registration = set_registration_of(event);
	long error = sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &registration);
	struct item *item;
	int reason = 0;

	if (error)
		return error;
	spinlock_acquire(&sets_lock);
	item = set->forked ? NULL : item_new(set, sock, fd);
	if (item && sock_is_engine(sock) && !set_watches(set, sock, item))
		reason = set_watch_begin(set, sock);
	if (item)
		item_arm(set, item, event);
	spinlock_release(&sets_lock);
	if (!item)
		leave_to_kernel(set, sock, fd, event);
	if (reason)
		stay_unwatched(set, sock, item, fd, (enum reason)reason);
	return 0;
}

/* What Linux refuses before it looks for the item. */
static int is_refused(int operation, const struct epoll_event *event)
{
	if (operation == EPOLL_CTL_DEL || !(event->events & EPOLLEXCLUSIVE))
		return 0;
	return operation == EPOLL_CTL_MOD || event->events & ~(uint32_t)EXCLUSIVE_MAY;
}

/* A change of an item whose registration is ours: usually nothing that the kernel need know. */
static long control_tagged(struct set *set, struct item *item, int operation, const struct epoll_event *event)
{
	if (is_refused(operation, event))
		return -EINVAL;
	if (operation == EPOLL_CTL_ADD ? !item->deleted : item->deleted)
		return operation == EPOLL_CTL_ADD ? -EEXIST : -ENOENT;
	set_ready_remove(set, item);
	if (operation == EPOLL_CTL_DEL) {
		item->deleted = 1;
		item->events = 0;
		return 0;
	}
	if (event->events & MODES) {
		struct epoll_event registration = set_registration_of(event);
		long error;

		if (item->deleted) /* some modes can only be added */
			sys_epoll_ctl(set->fd, EPOLL_CTL_DEL, item->fd, NULL);
		error = sys_epoll_ctl(set->fd, item->deleted ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, item->fd, &registration);
		if (error)
			return error;
		item->tagged = 0;
	}
	item_arm(set, item, event);
	return 0;
}

static long control_absent(struct set *set, struct item *item, int operation, const struct epoll_event *event)
{
	struct epoll_event registration = set_registration_of(event);
	long error;

	if (is_refused(operation, event))
		return -EINVAL;
	if (operation == EPOLL_CTL_ADD)
		return -EEXIST;
	if (operation == EPOLL_CTL_DEL) {
		item_free(item);
		return 0;
	}
	error = sys_epoll_ctl(set->fd, EPOLL_CTL_ADD, item->fd, &registration);
	if (error == -EEXIST) /* another process that has the set has registered it */
		error = sys_epoll_ctl(set->fd, EPOLL_CTL_MOD, item->fd, &registration);
	if (error)
		return error;
	item->absent = 0;
	item_arm(set, item, event);
	return 0;
}

static long control_plain(struct set *set, struct item *item, int operation, int fd, const struct epoll_event *event)
{
	struct epoll_event registration = {0};
	long error;

	if (event)
		registration = set_registration_of(event);
	if (item && item->absent)
		return control_absent(set, item, operation, event);
	error = sys_epoll_ctl(set->fd, operation, fd, operation == EPOLL_CTL_DEL ? NULL : &registration);
	if (error || !item)
		return error;
	set_ready_remove(set, item);
	if (operation == EPOLL_CTL_DEL) {
		item_free(item);
	} else {
		item_arm(set, item, event);
	}
	return 0;
}

long epoll_control(int set_fd, int operation, int fd, const struct epoll_event *event)
{
	struct set *set = set_of(set_fd);
	struct sock *sock = sock_of(fd);
	struct epoll_event copied = {0};
	struct item *item;
	long result;

	if (operation != EPOLL_CTL_DEL && copy_guarded(&copied, event, sizeof(copied)))
		return -EFAULT;
	if (descriptor_kind(descriptor_entry(fd)) == DESCRIPTOR_SET && operation == EPOLL_CTL_ADD)
		epoll_set_is_polled(fd);
	if (!set || !sock) {
		if (sock && operation == EPOLL_CTL_ADD) /* a set that we did not see being made: it has no bell */
			sock_never(sock, fd, reason_inherited);
		return sys_epoll_ctl(set_fd, operation, fd, &copied);
	}
	spinlock_acquire(&sets_lock);
	item = item_find(set, sock, fd);
	if (item) /* found by a descriptor that the program has: it is that of the registration again */
		item->fd_closed = 0;
	if (item && item->tagged) {
		result = control_tagged(set, item, operation, &copied);
	} else if (item || operation != EPOLL_CTL_ADD) {
		result = control_plain(set, item, operation, fd, &copied);
	} else {
		spinlock_release(&sets_lock);
		return control_add(set, sock, fd, &copied);
	}
	spinlock_release(&sets_lock);
	return result;
}
