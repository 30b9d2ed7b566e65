/* Makes, joins and releases pairs; allocates channels in them; rings bells. Everything that the other end can write is
 * read once and checked here. Lock: pairs_lock for the table, none for the use of a pair. */
#include "local/pair.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/process.h"
#include "base/spinlock.h"
#include "base/sys.h"
#include "shm/arena.h"

#define PAGE_BYTES 4096
#define EVENTFD_NONBLOCK 04000
#define RING_BYTES_MIN 4096
#define RING_BYTES_MAX (16u << 20)
#define MANY_PAIRS 32 /* with more pairs than this, each gets fewer bells */
#define BELLS_OF_MANY 2
#define GROWING_REGIONS 5

_Static_assert(PAIR_REGION0_CHANNELS << GROWING_REGIONS == PAIR_REGION_CHANNELS_MAX, "regions grow up to the largest");

struct pair *pairs;

static struct spinlock pairs_lock;
static uint32_t pairs_count;

int pair_table_make(void)
{
	pairs = memory_private(PAIRS_MAX * sizeof(*pairs));
	return pairs ? 0 : -ENOMEM;
}

void pair_table_release(void)
{
	pairs = memory_release(pairs, PAIRS_MAX * sizeof(*pairs));
}

uint32_t pair_index(const struct pair *pair)
{
	return (uint32_t)(pair - pairs);
}

/* -- where things are in a region --------------------------------------------------------------------------------- */

/* The first regions have twice as many channels each, from PAIR_REGION0_CHANNELS on; those from GROWING_REGIONS on have
 * PAIR_REGION_CHANNELS_MAX. */
static uint32_t region_channels(uint32_t region)
{
	return region < GROWING_REGIONS ? PAIR_REGION0_CHANNELS << region : PAIR_REGION_CHANNELS_MAX;
}

uint32_t pair_region_first_channel(uint32_t region)
{
	uint32_t growing = region < GROWING_REGIONS ? region : GROWING_REGIONS;

	return PAIR_REGION0_CHANNELS * ((1u << growing) - 1) + (region - growing) * PAIR_REGION_CHANNELS_MAX;
}

uint32_t pair_region_of(uint32_t channel)
{
	uint32_t behind = pair_region_first_channel(GROWING_REGIONS);

	if (channel >= behind)
		return GROWING_REGIONS + (channel - behind) / PAIR_REGION_CHANNELS_MAX;
	return 31 - (uint32_t)__builtin_clz(channel / PAIR_REGION0_CHANNELS + 1);
}

static size_t channels_offset(uint32_t region)
{
	return region ? 0 : (sizeof(struct shm_pair) + 63) / 64 * 64;
}

static size_t rings_offset(uint32_t region)
{
	size_t end = channels_offset(region) + region_channels(region) * sizeof(struct shm_channel);

	return (end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

size_t pair_region_bytes(uint32_t region, uint64_t ring_bytes)
{
	return rings_offset(region) + (size_t)region_channels(region) * 2 * ring_bytes;
}

struct shm_channel *pair_channel(struct pair *pair, uint32_t channel, uint8_t **rings)
{
	uint32_t region = pair_region_of(channel);
	uint32_t slot;
	uint8_t *map;

	map = region < pair->regions_count ? load_acquire(&pair->regions[region].map) : NULL;
	if (!map)
		return NULL;
	slot = channel - pair_region_first_channel(region);
	if (rings)
		*rings = map + rings_offset(region) + (size_t)slot * 2 * pair->ring_bytes;
	return (struct shm_channel *)(void *)(map + channels_offset(region)) + slot;
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

uint8_t *pair_region_map(int fd, size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return map == MAP_FAILED ? NULL : map;
}

void pair_head_touch(struct shm_pair *shared)
{
	for (size_t at = 0; at < sizeof(*shared); at += PAGE_BYTES)
		fetch_or((uint32_t *)(void *)((uint8_t *)shared + at), 0);
}

/* Maps region `region` from our own descriptor `fd`, which is closed where that fails. */
static int region_add(struct pair *pair, uint32_t region, int fd)
{
	uint8_t *map = pair_region_map(fd, pair_region_bytes(region, pair->ring_bytes));

	if (!map) {
		descriptor_own_close(fd);
		return -ENOMEM;
	}
	pair->regions[region].fd = fd;
	store_release(&pair->regions[region].map, map);
	if (region >= pair->regions_count)
		store_release(&pair->regions_count, region + 1);
	return 0;
}

static int region_make(struct pair *pair, uint32_t region)
{
	int fd = memory_make("byway.pair", pair_region_bytes(region, pair->ring_bytes), 1);

	return fd < 0 ? fd : region_add(pair, region, fd);
}

int pair_region_is_sound(int fd, size_t bytes)
{
	long seals = sys_fcntl(fd, F_GET_SEALS, 0);
	long end = SYS3(SYS_lseek, fd, 0, 2 /* SEEK_END */);

	return seals >= 0 && (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) == (F_SEAL_SHRINK | F_SEAL_GROW) && end >= 0 &&
	       (size_t)end == bytes;
}

int pair_region_join(struct pair *pair, uint32_t region, int fd)
{
	int known = region < SHM_REGIONS_MAX && pair->regions[region].map; /* every HELLO of its channels brings it */
	int may_be = !known && region && region < SHM_REGIONS_MAX;

	if (!may_be || !pair_region_is_sound(fd, pair_region_bytes(region, pair->ring_bytes))) {
		sys_close(fd);
		return known ? 0 : -EPROTO;
	}
	fd = descriptor_own(fd);
	return fd < 0 ? fd : region_add(pair, region, fd);
}

/* -- making and joining ---------------------------------------------------------------------------------------------- */

int bell_make(void)
{
	return descriptor_own(SYS2(SYS_eventfd2, 0, EVENTFD_NONBLOCK));
}

static int bells_make(struct pair *pair)
{
	uint32_t wanted = load_relaxed(&pairs_count) > MANY_PAIRS ? BELLS_OF_MANY : (uint32_t)options.bells;

	for (uint32_t k = 0; k < wanted; k++) {
		int fd = bell_make();

		if (fd < 0)
			return k ? 0 : fd;
		pair->bells[k] = fd;
		pair->bells_count = k + 1;
	}
	return 0;
}

static int peer_open(struct pair *pair, int peer)
{
	pair->peer_process = peer;
	pair->peer_fd = descriptor_own(SYS2(SYS_pidfd_open, peer, 0));
	return pair->peer_fd < 0 ? pair->peer_fd : 0;
}

void pair_destroy(struct pair *pair)
{
	for (uint32_t k = 0; k < pair->bells_count; k++)
		descriptor_own_close(pair->bells[k]);
	for (uint32_t k = 0; k < pair->peer_bells_count; k++)
		descriptor_own_close(pair->peer_bells[k]);
	for (uint32_t r = 0; r < pair->regions_count; r++)
		if (pair->regions[r].map) {
			munmap(pair->regions[r].map, pair_region_bytes(r, pair->ring_bytes));
			descriptor_own_close(pair->regions[r].fd);
		}
	if (pair->peer_fd > 0)
		descriptor_own_close(pair->peer_fd);
	if (pair->sockets)
		munmap(pair->sockets, SHM_CHANNELS_MAX * sizeof(*pair->sockets));
	memset((char *)pair + sizeof(pair->state), 0, sizeof(*pair) - sizeof(pair->state));
	__atomic_fetch_sub(&pairs_count, 1, __ATOMIC_RELAXED);
	store_release(&pair->state, 0);
}

void pair_claim_at(uint32_t index)
{
	store_release(&pairs[index].state, 1);
	__atomic_fetch_add(&pairs_count, 1, __ATOMIC_RELAXED);
}

static struct pair *pair_claim(void)
{
	for (uint32_t i = 0; i < PAIRS_MAX; i++) {
		uint32_t expected = 0;

		if (compare_swap(&pairs[i].state, &expected, 1)) {
			__atomic_fetch_add(&pairs_count, 1, __ATOMIC_RELAXED);
			return &pairs[i];
		}
	}
	return NULL;
}

static void end_fill(struct pair *pair)
{
	struct shm_pair_end *own = pair_own(pair);

	own->start_time = process_start_time(sys_getpid());
	own->bell_count = pair->bells_count;
	store_release(&own->process, (uint64_t)sys_getpid());
}

/* The peer has become a program that does not know the pair: nothing new is met in it. */
static int peer_has_left(struct pair *pair)
{
	return load_acquire(&pair_peer(pair)->process) == SHM_PAIR_LEFT;
}

/* Frees pairs that nobody uses and whose peer is gone. */
static void collect_dead(void)
{
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		if (load_acquire(&pairs[i].state) == 2 && !load_acquire(&pairs[i].references) &&
		    (!pair_peer_lives(&pairs[i]) || peer_has_left(&pairs[i])))
			pair_destroy(&pairs[i]);
}

int pair_sockets_make(struct pair *pair)
{
	void *map = mmap(NULL, SHM_CHANNELS_MAX * sizeof(*pair->sockets), PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	pair->sockets = map == MAP_FAILED ? NULL : map;
	return pair->sockets ? 0 : -ENOMEM;
}

static struct pair *pair_start(int peer, int *error)
{
	struct pair *pair;

	clock_calibrate();
	collect_dead();
	pair = pair_claim();
	*error = pair ? 0 : -ENFILE;
	if (pair)
		*error = pair_sockets_make(pair);
	if (pair && *error) {
		pair_destroy(pair);
		return NULL;
	}
	if (pair)
		*error = peer_open(pair, peer);
	if (pair && !*error)
		*error = bells_make(pair);
	if (pair && *error) {
		pair_destroy(pair);
		return NULL;
	}
	return pair;
}

struct pair *pair_make(int peer, int *error)
{
	struct pair *pair = pair_start(peer, error);
	struct shm_pair *shared;

	if (!pair)
		return NULL;
	pair->ring_bytes = (uint64_t)options.ring_bytes;
	*error = region_make(pair, 0);
	if (*error) {
		pair_destroy(pair);
		return NULL;
	}
	shared = pair->shared = (struct shm_pair *)(void *)pair->regions[0].map;
	pair_head_touch(shared);
	SYS3(SYS_getrandom, shared->id, sizeof(shared->id), 0);
	memcpy(pair->id, shared->id, sizeof(pair->id));
	shared->abi_hash = BYWAY_ABI_HASH;
	shared->creator = (uint64_t)sys_getpid();
	shared->ring_bytes = (uint32_t)pair->ring_bytes;
	shared->region_count = 1;
	end_fill(pair);
	store_release(&shared->magic, SHM_MAGIC_PAIR);
	count(counter_pairs, 1);
	store_release(&pair->state, 2);
	return pair;
}

/* The ring size that the memory claims, if the memory is what a pair's must be; else 0. */
uint64_t pair_region0_ring_bytes(int fd, const uint64_t id[2])
{
	struct shm_pair head;
	uint64_t ring_bytes;

	if (SYS4(SYS_pread64, fd, &head, sizeof(head), 0) != (long)sizeof(head))
		return 0;
	ring_bytes = head.ring_bytes;
	if (head.magic != SHM_MAGIC_PAIR || head.abi_hash != BYWAY_ABI_HASH || memcmp(head.id, id, sizeof(head.id)))
		return 0;
	if (ring_bytes < RING_BYTES_MIN || ring_bytes > RING_BYTES_MAX || (ring_bytes & (ring_bytes - 1)))
		return 0;
	return pair_region_is_sound(fd, pair_region_bytes(0, ring_bytes)) ? ring_bytes : 0;
}

struct pair *pair_join(int peer, int region_fd, const uint64_t id[2], int *error)
{
	uint64_t ring_bytes = pair_region0_ring_bytes(region_fd, id);
	struct pair *pair = ring_bytes ? pair_start(peer, error) : NULL;

	if (!ring_bytes)
		*error = -EPROTO;
	if (!pair) {
		sys_close(region_fd);
		return NULL;
	}
	pair->end = 1;
	pair->ring_bytes = ring_bytes;
	memcpy(pair->id, id, sizeof(pair->id));
	region_fd = descriptor_own(region_fd);
	if (region_fd >= 0) {
		pair->regions[0].map = pair_region_map(region_fd, pair_region_bytes(0, ring_bytes));
		pair->regions[0].fd = region_fd;
	}
	if (region_fd < 0 || !pair->regions[0].map) {
		*error = region_fd < 0 ? region_fd : -ENOMEM;
		descriptor_own_close(region_fd);
		pair_destroy(pair);
		return NULL;
	}
	pair->regions_count = 1;
	pair->shared = (struct shm_pair *)(void *)pair->regions[0].map;
	pair_head_touch(pair->shared);
	end_fill(pair);
	count(counter_pairs, 1);
	store_release(&pair->state, 2);
	return pair;
}

struct pair *pair_find(int peer, uint32_t end, const uint64_t id[2])
{
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		if (load_acquire(&pairs[i].state) == 2 && pairs[i].peer_process == peer && pairs[i].end == end &&
		    !memcmp(pairs[i].id, id, sizeof(pairs[i].id)) && !pairs[i].inherited)
			return &pairs[i];
	return NULL;
}

struct pair *pair_find_by_process(int peer)
{
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		if (load_acquire(&pairs[i].state) == 2 && pairs[i].peer_process == peer && pairs[i].end == 0 &&
		    !pairs[i].inherited && pair_peer_lives(&pairs[i]) && !peer_has_left(&pairs[i]))
			return &pairs[i];
	return NULL;
}

/* All of them, or none: -EMFILE. Whatever comes of it, `bells` are ours no more. */
static int bells_keep(struct pair *pair, const int *bells, uint32_t count)
{
	int kept[SHM_BELLS_MAX], error = 0;

	for (uint32_t k = 0; k < count; k++) {
		kept[k] = descriptor_own(bells[k]);
		if (kept[k] < 0)
			error = kept[k];
	}
	for (uint32_t k = 0; k < count; k++) {
		if (error)
			descriptor_own_close(kept[k]);
		else
			pair->peer_bells[k] = kept[k];
	}
	pair->peer_bells_count = error ? 0 : count;
	return error;
}

int pair_confirm(struct pair *pair, const int *bells, uint32_t bells_count)
{
	int error = bells_count <= SHM_BELLS_MAX ? 0 : -EPROTO;

	spinlock_acquire(&pairs_lock);
	if (pair->confirmed || error)
		for (uint32_t k = 0; k < bells_count; k++)
			sys_close(bells[k]);
	else if (bells_count)
		error = bells_keep(pair, bells, bells_count);
	if (bells_count && !error && !pair->confirmed) {
		pair->ids_agree = load_acquire(&pair_peer(pair)->process) == (uint64_t)pair->peer_process;
		store_release(&pair->confirmed, 1);
	}
	spinlock_release(&pairs_lock);
	return error;
}

void pair_reference(struct pair *pair)
{
	fetch_add(&pair->references, 1);
}

void pair_release(struct pair *pair)
{
	__atomic_fetch_sub(&pair->references, 1, __ATOMIC_SEQ_CST);
}

void pair_all_inherited(void)
{
	pairs_lock.held = 0;
	for (uint32_t i = 0; pairs && i < PAIRS_MAX; i++)
		if (pairs[i].state)
			pairs[i].inherited = 1;
}

void pair_all_forked(void)
{
	for (uint32_t i = 0; pairs && i < PAIRS_MAX; i++)
		if (load_acquire(&pairs[i].state) == 2)
			store_release(&pair_own(&pairs[i])->forked, 1);
}

/* -- channels ------------------------------------------------------------------------------------------------------ */

static void direction_reset(struct shm_direction *direction)
{
	memset(direction, 0, sizeof(*direction));
	store_release(&direction->tail, SHM_TAIL_REVOKED);
}

static int channel_claim(struct shm_channel *channel, const uint64_t cookies[2])
{
	uint32_t expected = 0;

	if (load_relaxed(&channel->in_use) || !compare_swap(&channel->in_use, &expected, 2))
		return 0;
	direction_reset(&channel->direction[0]);
	direction_reset(&channel->direction[1]);
	channel->cookies[0] = cookies[0];
	channel->cookies[1] = cookies[1];
	channel->ends[0] = SHM_END_NONE;
	channel->ends[1] = SHM_END_NONE;
	store_release(&channel->in_use, 1);
	return 1;
}

static uint32_t channels_made(const struct pair *pair)
{
	uint32_t channels = pair_region_first_channel(load_acquire(&pair->regions_count));

	return channels < SHM_CHANNELS_MAX ? channels : SHM_CHANNELS_MAX;
}

/* Of channels [from, to), the first that is free. */
static uint32_t channel_claim_of(struct pair *pair, uint32_t from, uint32_t to, const uint64_t cookies[2])
{
	for (uint32_t i = from; i < to; i++) {
		struct shm_channel *channel = pair_channel(pair, i, NULL);

		if (channel && !pair->sockets[i] && channel_claim(channel, cookies)) {
			store_relaxed(&pair->channel_hint, i + 1);
			return i;
		}
	}
	return SHM_CHANNELS_MAX;
}

static uint32_t channel_claim_any(struct pair *pair, const uint64_t cookies[2])
{
	uint32_t made = channels_made(pair), hint = load_relaxed(&pair->channel_hint), channel;

	hint = hint < made ? hint : made;
	channel = channel_claim_of(pair, hint, made, cookies);

	return channel < SHM_CHANNELS_MAX ? channel : channel_claim_of(pair, 0, hint, cookies);
}

uint32_t pair_channel_new(struct pair *pair, const uint64_t cookies[2])
{
	uint32_t channel;

	spinlock_acquire(&pairs_lock);
	channel = channel_claim_any(pair, cookies);
	if (channel == SHM_CHANNELS_MAX && pair->end == 0 && pair->regions_count < SHM_REGIONS_MAX &&
	    !region_make(pair, pair->regions_count)) {
		pair->shared->region_count = pair->regions_count;
		channel =
			channel_claim_of(pair, pair_region_first_channel(pair->regions_count - 1), channels_made(pair), cookies);
	}
	spinlock_release(&pairs_lock);
	return channel;
}

void pair_channel_leave(struct pair *pair, uint32_t index)
{
	struct shm_channel *channel = pair_channel(pair, index, NULL);
	uint32_t expected = 1, none = SHM_END_NONE;

	pair->sockets[index] = 0;
	if (index < load_relaxed(&pair->channel_hint)) /* low numbers first: the bitmaps stay short */
		store_relaxed(&pair->channel_hint, index);
	if (!channel)
		return;
	/* An offerer that has not come yet must not attach to what is left. */
	compare_swap(&channel->ends[1 - pair->end], &none, SHM_END_CLOSED);
	store_release(&channel->ends[pair->end], SHM_END_CLOSED);
	cpu_fence();
	if (load_acquire(&channel->ends[1 - pair->end]) == SHM_END_CLOSED && compare_swap(&channel->in_use, &expected, 2))
		store_release(&channel->in_use, 0);
}

/* -- life and bells -------------------------------------------------------------------------------------------------- */

int pair_peer_lives(struct pair *pair)
{
	uint64_t now = cpu_ticks();
	struct pollfd peer = {.fd = pair->peer_fd, .events = POLLIN};

	if (load_relaxed(&pair->dead))
		return 0;
	if (now - load_relaxed(&pair->asked_ticks) < clock_ticks_of_us(PAIR_ASK_US))
		return 1;
	if (sys_poll(&peer, 1, 0) == 1 && peer.revents) {
		store_relaxed(&pair->dead, 1);
		return 0;
	}
	store_relaxed(&pair->asked_ticks, now);
	return 1;
}

void bell_empty(int fd)
{
	uint64_t rings;

	sys_read(fd, &rings, sizeof(rings));
}

void bell_ring(int fd)
{
	uint64_t one = 1;

	sys_write(fd, &one, sizeof(one));
}

/* A late ring of an earlier owner may still lie in the bell. A sleeper looks again and sleeps on; the set would show itself
 * readable to whoever polls it. So sets take theirs from the other end, and begin with an empty one. */
void pair_bell_empty(struct pair *pair, int bell)
{
	bell_empty(pair->bells[bell]);
}

int pair_bell_lease(struct pair *pair, uint64_t owner)
{
	uint32_t count = pair->inherited ? 0 : pair->bells_count;

	for (uint32_t k = 0; k < count; k++)
		if (load_relaxed(&pair->bell_owner[k]) == owner)
			return (int)k;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t k = owner & PAIR_BELL_SET ? count - 1 - i : i;
		uint64_t expected = 0;

		if (!compare_swap(&pair->bell_owner[k], &expected, owner))
			continue;
		if (owner & PAIR_BELL_SET)
			pair_bell_empty(pair, (int)k);
		return (int)k;
	}
	return -1;
}

void pair_bell_return(struct pair *pair, int bell, uint64_t owner)
{
	if (bell >= 0)
		compare_swap(&pair->bell_owner[bell], &owner, 0);
}

void pair_ring(struct pair *pair, uint32_t mask)
{
	for (uint32_t k = 0; k < pair->peer_bells_count; k++)
		if (mask & 1u << k) {
			count(counter_bells, 1);
			bell_ring(pair->peer_bells[k]);
		}
}

void pair_ring_own(struct pair *pair, int bell)
{
	bell_ring(pair->bells[bell]);
}
