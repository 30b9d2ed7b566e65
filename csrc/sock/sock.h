/* Sockets of this process: what the fd table points at, and the gate between plain kernel calls and the engine.
 *
 * socks[i] is this process's private side of slot i of the arena. Every call on a socket enters by sock_enter: it either
 * raises the count of plain kernel calls in the gate and then uses the kernel only, or sees ENGINE and then uses the
 * local transport. ENGINE is set from a count of exactly 0, once both ends of a channel are attached
 * (docs/local-transport.md, section 6). Any thread. */
#ifndef BYWAY_SOCK_SOCK_H
#define BYWAY_SOCK_SOCK_H

#include "base/descriptor.h"
#include "base/spinlock.h"
#include "local/end.h"
#include "local/meet.h"
#include "shm/arena.h"

#define GATE_ENGINE 0x80000000u
#define GATE_DRAIN 0x20000000u  /* plain calls wait at the gate for a moment: ENGINE is about to be set */
#define GATE_FORKED 0x40000000u /* with ENGINE: attached by the process that we were forked from */

enum sock_call {
	SOCK_CALL_NONE = 0,
	SOCK_CALL_SEND = 1,
	SOCK_CALL_RECV = 2
};

enum attach_stage {
	STAGE_NEW = 0,
	STAGE_OFFERED = 1,
	STAGE_WAITING = 2, /* the passive opener: nobody was at the meeting name yet */
	STAGE_JOINED = 3,
	STAGE_OVER = 4     /* attached, or never */
};

struct sock {
	uint32_t gate;
	uint32_t descriptors; /* of this process */
	struct shm_socket *shared;
	struct local_end end; /* valid with ENGINE, and in STAGE_JOINED under attach_busy */
	/* attaching: the thread that has set attach_busy */
	uint32_t attach_busy;
	uint32_t stage;
	struct meeting meeting;
	uint32_t last_call;
	uint32_t turns;
	uint32_t calls;
	uint32_t try_at; /* no attempt before so many calls */
	uint32_t try_step;
	/* epoll items (wait/set.h): index + 1 of the first, under the lock of the sets */
	uint32_t first_item;
	uint32_t behind; /* who waits has found bytes in the ring that are not readable yet: epoll_has_received */
	/* closed while calls sleep on it (keep.c) */
	uint32_t waiters;
	int kept_fd;
	uint32_t bare_sleepers; /* bare.c */
	/* around exec: one thread */
	uint32_t passes; /* it is in the list for the next image, at this place + 1 */
	uint32_t given;  /* to the kernel, for the exec that comes */
	uint32_t closing; /* exec closes it; 2: and SO_LINGER is to be put back if exec fails */
	struct linger linger;
};

extern struct sock *socks; /* SHM_SOCKETS_MAX of them */

/* Before the first socket. 0, or -ENOMEM: then nothing is accelerated. */
int sock_start(void);
/* Something else is missing: what the program is short of is given back to it. */
void sock_stop(void);

/* What the layer above does when a socket begins to go through the engine, and when it ends. 0, or a reason: then the
 * socket stays with the kernel. Set once at start. */
struct sock_hooks {
	int (*engine_begins)(struct sock *sock, int fd);
	void (*ends)(struct sock *sock, int shared); /* `shared`: another process holds it, and the kernel's sets know it */
	void (*descriptor_closes)(struct sock *sock, int fd); /* before the close; the socket has others */
	/* Around the way of what is unread into the kernel. */
	void (*kernel_gets)(struct sock *sock);
	void (*kernel_has)(struct sock *sock);
	/* Around all that replaces a socket, before its own locks: who collects for a set takes them in this order. */
	void (*sets_hold)(void);
	void (*sets_release)(void);
	/* Between those two, around the dup3 by which another connection takes the place of `fd`, which was `sock` and is then
	 * `fresh`. */
	void (*replace_begins)(struct sock *sock, int fd);
	void (*replaced)(struct sock *sock, struct sock *fresh, int fd);
};
extern struct sock_hooks sock_hooks;

/* The socket behind `fd`, or NULL when it is not ours. A few instructions: every interposed call begins with it. */
static inline struct sock *sock_of(int fd)
{
	uint32_t entry = descriptor_entry(fd);

	return descriptor_kind(entry) == DESCRIPTOR_SOCKET ? &socks[descriptor_index(entry)] : NULL;
}
static inline uint32_t sock_index(const struct sock *sock)
{
	return (uint32_t)(sock - socks);
}

/* -- life ------------------------------------------------------------------------------------------------------------ */

/* A new TCP socket `fd` gets a slot; `flags`: SOCK_ACTIVE or SOCK_PASSIVE or 0. NULL: it is left to the kernel. */
struct sock *sock_new(int fd, uint32_t flags);
/* `fd` came in a message: is it a socket that this process has already? */
void sock_recognise(int fd);
/* A descriptor of it, or -1. */
int sock_any_descriptor(const struct sock *sock);
/* `fd` is another descriptor of it. */
void sock_add_descriptor(struct sock *sock, int fd);
/* Before the kernel's close of `fd`; returns 1 when it is this process's last descriptor: then call sock_closed after. */
int sock_close_begin(struct sock *sock, int fd);
void sock_closed(struct sock *sock);
/* Between the two, and before any other close of the kernel's socket: marks, moves, a reset where bytes are unread. */
void sock_last_close(struct sock *sock, int fd);
/* Around a sleep on the descriptor without a bell of the pair: the result, which sock_bare_sleep_ends takes, is a descriptor to
 * be polled for POLLIN too, or negative: none is needed, or none can be had. sock_wake_bare_sleepers: the descriptor is
 * another file now; waits until they have looked again, 100 ms at most. No lock may be held. */
int sock_bare_sleep_begins(struct sock *sock);
void sock_bare_sleep_ends(struct sock *sock, int begun);
void sock_wake_bare_sleepers(struct sock *sock);
/* Around a sleep in a call on the socket. sock_sleep_ends: 1 when it was closed meanwhile: from now on the call uses kept_fd,
 * begins no further sleep by sock_sleep_begins, and sock_kept_call_ends must follow. */
void sock_sleep_begins(struct sock *sock);
int sock_sleep_ends(struct sock *sock);
void sock_kept_call_ends(struct sock *sock);
/* `fd`, its last descriptor, is about to be closed. 1: calls sleep on it, and the last of them will close it. */
int sock_keep(struct sock *sock, int fd);
/* Each socket that is kept so. */
void sock_kept_each(void (*act)(struct sock *sock, int fd));
/* The calls that keep sockets are the parent's. */
void sock_kept_fork_child(void);
/* This process has no descriptor of it any more, since a relay has it (relay.c): the channel goes on. */
void sock_relayed(struct sock *sock);
/* No other living process of the family holds it. */
int sock_is_sole_holder(const struct sock *sock);
/* The process ends in good order with its sockets open. */
void sock_all_exit(void);
/* Before exec, of a socket that the exec closes: as sock_close_begin and a kernel close that comes later. sock_not_closed:
 * the exec failed. */
void sock_exec_closes(struct sock *sock, int fd);
void sock_not_closed(struct sock *sock, int fd);
/* No socket begins to go through the engine, and no fork is made, between these two. */
void sock_hold_still(void);
void sock_go_on(void);
/* In a new image: slot `index`, held by this process since the image before, is this socket again; no descriptor yet. */
struct sock *sock_found(uint32_t index);
/* Around fork. */
void sock_fork_prepare(void);
void sock_fork_parent(void);
void sock_fork_child(void);

/* -- the gate ---------------------------------------------------------------------------------------------------------- */

int sock_enter_slow(struct sock *sock, int fd);

/* 1: engine. 0: plain, and sock_leave must follow. */
static inline int sock_enter(struct sock *sock, int fd)
{
	if (likely((load_acquire(&sock->gate) & (GATE_ENGINE | GATE_FORKED)) == GATE_ENGINE))
		return 1;
	return sock_enter_slow(sock, fd);
}
static inline int sock_is_engine(const struct sock *sock)
{
	return (load_acquire(&sock->gate) & GATE_ENGINE) != 0;
}
void sock_leave(struct sock *sock);
/* Sets ENGINE where no plain call is in progress and nobody else holds the socket; 1 when it did. */
int sock_engine_set(struct sock *sock);

/* -- attaching (attach.c) -------------------------------------------------------------------------------------------------- */

/* After a data call of plain mode that moved bytes, or before the first with attach_after=0; outside the gate. */
void sock_note_call(struct sock *sock, int fd, enum sock_call call);

/* -- back to the kernel (release.c) ----------------------------------------------------------------------------------------- */

/* Never attached from now on; both directions go back. What is unread in the ring can still be received by this process. */
void sock_never(struct sock *sock, int fd, enum reason reason);
/* As sock_never, for a program that knows nothing of rings: it will find every unread byte in the kernel behind the
 * descriptor. That may be another socket then (relay.h): look it up again by sock_of. Waits for a moment at most. */
void sock_into_kernel(struct sock *sock, int fd, enum reason reason);
/* As sock_into_kernel, but never another socket: 0 where the kernel's buffers did not take all that is unread. */
int sock_hand_back(struct sock *sock, int fd, enum reason reason);

/* -- flags -------------------------------------------------------------------------------------------------------------------- */

/* O_NONBLOCK as the kernel has it. */
int sock_is_nonblocking(struct sock *sock, int fd);
void sock_set_nonblocking(struct sock *sock, int nonblocking);
/* Is `fd`, which nobody has seen before, a TCP socket? */
int sock_fd_is_tcp(int fd);

#endif
