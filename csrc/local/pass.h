/* What of pairs and ends goes through an exec to a new image of the same process, which has the library too
 * (docs/local-transport.md, section 7). Called by sock/passport.c alone: in the old image while nobody forks, in the new
 * one before anything else happens there. */
#ifndef BYWAY_LOCAL_PASS_H
#define BYWAY_LOCAL_PASS_H

#include "local/end.h"

/* -- the old image --------------------------------------------------------------------------------------------------- */

/* Both locks of the end are taken and kept, so that no thread is in the middle of anything when exec ends them all; what it
 * sends goes to the kernel, and what it receives is revoked for now. */
void pass_end_hold(struct local_end *end);
/* Exec failed: the end goes on as if nothing had been. */
void pass_end_free(struct local_end *end);

/* The new image will not know this process's pairs, but those marked `passes`; or exec failed. */
void pass_pairs_leave(void);
void pass_pairs_stay(void);
/* For each descriptor that a new image needs of a pair. */
void pass_pair_each_descriptor(const struct pair *pair, void (*act)(int fd, int argument), int argument);

/* -- the new image --------------------------------------------------------------------------------------------------- */

/* Pair `index` from what the old image knew of it. Nobody sleeps on its bells any more. 0, or a negative errno: then its
 * descriptors are closed. */
int pass_pair_take(uint32_t index, const struct pair *before);
/* The end of `channel` that was attached in the old image by the same socket, now `fd`. The locks
 * that the old image kept are free. 0, or -ESTALE: the channel is not what it was. */
int pass_end_take(struct local_end *end, struct pair *pair, uint32_t channel, int fd);
/* Afterwards: channels whose sockets did not come along are left. */
void pass_pair_leave_lost_channels(struct pair *pair);

#endif
