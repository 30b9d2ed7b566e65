/* Ends and pairs through an exec. What counts lies in shared memory and stays there; an image knows beside it only where
 * things are. Lock: none for pairs (one thread alone, see pass.h); for ends both of theirs, from before the exec to after. */
#include "local/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/descriptor.h"
#include "base/lock.h"
#include "base/sys.h"
#include "local/diag.h"
#include "shm/arena.h"

/* -- the old image --------------------------------------------------------------------------------------------------- */

void pass_end_hold(struct local_end *end)
{
	local_lock_reader(end);
	local_lock_writer(end);
	/* A program without the library, should it come up so after all, sends and receives rightly by the kernel. */
	local_move_to_kernel(end);
	fetch_or(&end->rx->tail, SHM_TAIL_REVOKED);
}

void pass_end_free(struct local_end *end)
{
	local_unlock_writer(end);
	local_unlock_reader(end);
	local_rx_allow(end);
}

static int is_own(const struct pair *pair)
{
	return load_acquire(&pair->state) == 2 && !pair->inherited;
}

void pass_pairs_leave(void)
{
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		if (is_own(&pairs[i]) && !pairs[i].passes)
			store_release(&pair_own(&pairs[i])->process, SHM_PAIR_LEFT);
}

void pass_pairs_stay(void)
{
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		if (is_own(&pairs[i]))
			store_release(&pair_own(&pairs[i])->process, (uint64_t)sys_getpid());
}

void pass_pair_each_descriptor(const struct pair *pair, void (*act)(int fd, int argument), int argument)
{
	for (uint32_t k = 0; k < pair->bells_count && k < SHM_BELLS_MAX; k++)
		act(pair->bells[k], argument);
	for (uint32_t k = 0; k < pair->peer_bells_count && k < SHM_BELLS_MAX; k++)
		act(pair->peer_bells[k], argument);
	for (uint32_t r = 0; r < pair->regions_count && r < SHM_REGIONS_MAX; r++)
		if (pair->regions[r].map)
			act(pair->regions[r].fd, argument);
	act(pair->peer_fd, argument);
}

/* -- the new image --------------------------------------------------------------------------------------------------- */

static void close_one(int fd, int argument)
{
	(void)argument; /* the form of pass_pair_each_descriptor */
	descriptor_own_close(fd);
}

static void found_one(int fd, int argument)
{
	(void)argument;
	descriptor_own_found(fd);
}

static int is_sound(uint32_t index, const struct pair *before)
{
	return index < PAIRS_MAX && !pairs[index].state && before->end <= 1 && before->bells_count <= SHM_BELLS_MAX &&
	       before->peer_bells_count <= SHM_BELLS_MAX && before->regions_count <= SHM_REGIONS_MAX &&
	       before->regions_count && before->regions[0].map;
}

static void regions_unmap(struct pair *pair)
{
	for (uint32_t r = 0; r < pair->regions_count; r++)
		if (pair->regions[r].map)
			munmap(pair->regions[r].map, pair_region_bytes(r, pair->ring_bytes));
}

static int regions_map(struct pair *pair, const struct pair *before)
{
	if (pair_region0_ring_bytes(before->regions[0].fd, before->id) != before->ring_bytes)
		return -EPROTO;
	for (uint32_t r = 0; r < before->regions_count; r++) {
		size_t bytes = pair_region_bytes(r, before->ring_bytes);

		if (!before->regions[r].map)
			continue;
		if (!pair_region_is_sound(before->regions[r].fd, bytes))
			return -EPROTO;
		pair->regions[r].map = pair_region_map(before->regions[r].fd, bytes);
		if (!pair->regions[r].map)
			return -ENOMEM;
	}
	return 0;
}

/* Bits of threads and epoll sets that ended with the old image. A bell that is rung all the same does no harm, nor does
 * a ready bit that comes late. */
static void forget_sleepers(struct pair *pair)
{
	for (uint32_t i = 0; i < pair_region_first_channel(pair->regions_count); i++) {
		struct shm_channel *channel = pair_channel(pair, i, NULL);

		if (!channel)
			continue;
		store_release(&channel->direction[1 - pair->end].watch_mask, 0);
		store_release(&channel->direction[1 - pair->end].sleep_mask, 0);
	}
	store_release(&pair_own(pair)->set_sleep_mask, 0);
	for (uint32_t k = 0; k < SHM_BELLS_MAX; k++)
		store_release(&pair_own(pair)->ready_groups[k], 0);
	for (uint32_t word = 0; word < SHM_BELLS_MAX * SHM_READY_WORDS; word++)
		store_release(&pair_own(pair)->ready[word], 0);
}

static void pair_copy(struct pair *pair, const struct pair *before)
{
	*pair = *before;
	pair->state = 1;
	pair->references = pair->passes = 0;
	pair->asked_ticks = 0;
	pair->sockets = NULL;
	memset(pair->bell_owner, 0, sizeof(pair->bell_owner));
	for (uint32_t r = 0; r < SHM_REGIONS_MAX; r++)
		pair->regions[r].map = NULL;
}

int pass_pair_take(uint32_t index, const struct pair *before)
{
	struct pair *pair = &pairs[index];
	int error;

	if (!is_sound(index, before))
		return -EPROTO;
	pair_claim_at(index);
	pair_copy(pair, before);
	error = pair_sockets_make(pair);
	if (!error)
		error = regions_map(pair, before);
	if (error) { /* the entry stays taken: it is not worth more */
		regions_unmap(pair);
		pass_pair_each_descriptor(before, close_one, 0);
		return error;
	}
	pass_pair_each_descriptor(pair, found_one, 0);
	pair->shared = (struct shm_pair *)(void *)pair->regions[0].map;
	pair_head_touch(pair->shared);
	forget_sleepers(pair);
	store_release(&pair->state, 2);
	return 0;
}

/* The same channel, and nobody has left it. */
static int is_still(const struct local_end *end, int fd)
{
	return load_acquire(&end->shared->in_use) == 1 &&
	       load_acquire(&end->shared->ends[end->pair->end]) == SHM_END_OPEN &&
	       end->shared->cookies[end->pair->end] == diag_cookie(fd);
}

int pass_end_take(struct local_end *end, struct pair *pair, uint32_t channel, int fd)
{
	if (!local_end_fill(end, pair, channel) || !is_still(end, fd))
		return -ESTALE;
	local_end_attached(end);
	lock_forget_owner(&end->socket->reader_lock);
	lock_forget_owner(&end->socket->writer_lock);
	end->head_seen = load_acquire(&end->tx->head) & SHM_OFFSET_MASK;
	store_release(&end->tx->sender_descriptor, (uint32_t)fd);
	store_relaxed(&end->acknowledgement_due, 1);
	return 0;
}

void pass_pair_leave_lost_channels(struct pair *pair)
{
	for (uint32_t i = 0; i < pair_region_first_channel(pair->regions_count); i++) {
		struct shm_channel *channel = pair_channel(pair, i, NULL);
		uint32_t own = channel ? load_acquire(&channel->ends[pair->end]) : SHM_END_CLOSED;

		if (own == SHM_END_CLOSED || pair->sockets[i] || load_acquire(&channel->in_use) != 1)
			continue;
		/* End 0 makes channels: one that it has not opened is known to nobody. A socket that a forked process holds is its. */
		if ((own == SHM_END_OPEN || pair->end == 0) && !arena_knows_cookie(channel->cookies[pair->end]))
			pair_channel_leave(pair, i);
	}
}
