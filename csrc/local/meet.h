/* Section 6: how two ends meet and attach. No call here waits for the other end.
 *
 * The active opener offers (binds and listens on the name of its cookie) and later accepts; the passive opener joins.
 * Identity: the kernel's cookie and user of the other end (diag.h) against SO_PEERCRED of the meeting socket. */
#ifndef BYWAY_LOCAL_MEET_H
#define BYWAY_LOCAL_MEET_H

#include "local/diag.h"
#include "local/end.h"

enum meet_result {
	MEET_LATER = 0,   /* the other end has not come yet */
	MEET_JOINED = 1,  /* our end of the channel is attached */
	MEET_NEVER = 2    /* it cannot be: *reason says why */
};

struct meeting {
	struct diag_peer peer; /* cookie 0: not asked yet */
	uint64_t cookie;       /* ours */
	int fd;                /* offer: listening socket; joined: connection on which the answer comes; else -1 */
	int connection;        /* offer: somebody came, and has not said HELLO yet; else -1 */
};

/* Asks for both identities. 0, or a reason. */
int meet_identify(struct meeting *meeting, int fd);

int meet_offer(struct meeting *meeting);                                          /* 0 or a reason */
enum meet_result meet_accept(struct meeting *meeting, struct local_end *end, int *reason);
enum meet_result meet_join(struct meeting *meeting, struct local_end *end, int *reason);

/* After MEET_JOINED: 1 when both ends are attached and their bells known, 0 not yet, -1 with *reason: it comes to nothing. */
int meet_is_complete(struct meeting *meeting, struct local_end *end, int *reason);

/* In a forked child. */
void meet_fork_child(void);

/* Gives the offer, the connection and an attached channel up. */
void meet_abandon(struct meeting *meeting, struct local_end *end);

#endif
