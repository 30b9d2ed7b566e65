/* Pairs: the memory that this process shares with one other process, its bells, and whether the other lives.
 *
 * A pair has regions. Region 0 begins with struct shm_pair; each region holds a number of channels and their rings, and
 * is one sealed memfd. Only end 0 (which made the pair) adds regions. Pairs are found by their random id and our end;
 * a process that is connected to itself has two entries for the same memory. Any thread. */
#ifndef BYWAY_LOCAL_PAIR_H
#define BYWAY_LOCAL_PAIR_H

#include <stddef.h>

#include "base/cpu.h"
#include "shm/layout.h"

#define PAIRS_MAX 1024
#define PAIR_REGION0_CHANNELS 8
#define PAIR_REGION_CHANNELS_MAX 256
#define PAIR_ASK_US 20

struct pair_region {
	uint8_t *map; /* NULL: not mapped here */
	int fd;
};

struct pair {
	uint32_t state; /* 0 free, 1 being made, 2 ready */
	uint32_t end;   /* ours */
	struct shm_pair *shared;
	uint64_t ring_bytes;
	uint64_t id[2];
	int peer_process; /* process id as seen here */
	int peer_fd;      /* its pidfd */
	uint32_t dead;    /* the peer's process is gone */
	uint32_t confirmed; /* the peer's bells are here */
	uint32_t ids_agree; /* known when confirmed: a thread's id means the same to both ends */
	uint32_t inherited; /* by fork: this process has no bells of its own */
	uint32_t references;
	uint32_t passes; /* it is in the list for the next image, at this place + 1 (csrc/sock/passport.c) */
	uint64_t asked_ticks; /* when the peer was last known to live */
	uint32_t bells_count;
	uint32_t peer_bells_count;
	int bells[SHM_BELLS_MAX];      /* ours: we sleep on them */
	int peer_bells[SHM_BELLS_MAX]; /* the peer's: we ring them */
	uint64_t bell_owner[SHM_BELLS_MAX]; /* a sleep's address, or PAIR_BELL_SET | set index; 0: free */
	uint32_t regions_count; /* those below it may be missing where the other end makes them: `map` says */
	struct pair_region regions[SHM_REGIONS_MAX];
	uint32_t channel_hint; /* the next channel to be tried: most of those before it are in use */
	uint32_t *sockets; /* of each of SHM_CHANNELS_MAX channels: socket slot + 1, where this process attached it */
};

#define PAIR_BELL_SET 0x8000000000000000u

extern struct pair *pairs; /* PAIRS_MAX of them, or NULL: pair_table_make failed, or was not called */

/* Before the first pair. 0, or -ENOMEM: then nothing is accelerated. */
int pair_table_make(void);
void pair_table_release(void);

uint32_t pair_index(const struct pair *pair);

/* A new pair with the process `peer`, as end 0, or NULL with *error set to a negative errno. */
struct pair *pair_make(int peer, int *error);
/* Joins as end 1 with region 0 in `region_fd` (taken over). Validates all that the other end wrote. */
struct pair *pair_join(int peer, int region_fd, const uint64_t id[2], int *error);
struct pair *pair_find(int peer, uint32_t end, const uint64_t id[2]);
struct pair *pair_find_by_process(int peer);
/* Takes the peer's bells over (at most SHM_BELLS_MAX), once: all of them, or none and a negative errno. `bells` are closed
 * where they are not kept. */
int pair_confirm(struct pair *pair, const int *bells, uint32_t count);
/* Back to a table without it: nobody has met in it. */
void pair_destroy(struct pair *pair);
void pair_reference(struct pair *pair);
/* One reference less; a pair without any whose peer is gone is unmapped when the next pair is made. */
void pair_release(struct pair *pair);
/* In a forked child. */
void pair_all_inherited(void);
/* Before fork: peers must ask each socket from now on. */
void pair_all_forked(void);

/* Its memory (pass.c needs these too). The ring size that region 0 in `fd` claims, 0 if it is not what it must be. */
uint64_t pair_region0_ring_bytes(int fd, const uint64_t id[2]);
size_t pair_region_bytes(uint32_t region, uint64_t ring_bytes);
int pair_region_is_sound(int fd, size_t bytes);
uint8_t *pair_region_map(int fd, size_t bytes);
/* Faults its pages in: else the first sender would do that between publishing its bytes and telling a set of them, and a
 * receiver that has seen the bytes would not find the event. */
void pair_head_touch(struct shm_pair *shared);
uint32_t pair_region_first_channel(uint32_t region);
int pair_sockets_make(struct pair *pair);
/* Entry `index` of a table in which nothing is yet. */
void pair_claim_at(uint32_t index);

/* Channels. A channel number is global in its pair. NULL: no such channel, or not mapped. */
struct shm_channel *pair_channel(struct pair *pair, uint32_t channel, uint8_t **rings);
uint32_t pair_region_of(uint32_t channel);
/* Allocates a channel for two cookies, adding a region where needed. SHM_CHANNELS_MAX: none. */
uint32_t pair_channel_new(struct pair *pair, const uint64_t cookies[2]);
void pair_channel_leave(struct pair *pair, uint32_t channel);
/* Maps region `region` from `fd` (taken over), unless it is mapped. Regions may come in any order: offers are answered by
 * whichever socket is used first. 0 or a negative errno. One thread at a time. */
int pair_region_join(struct pair *pair, uint32_t region, int fd);

/* Whether the peer's process lived in the last PAIR_ASK_US microseconds: asks the kernel when that is longer ago. */
int pair_peer_lives(struct pair *pair);

/* A bell is an eventfd; it may be rung and emptied at any time. bell_make: a descriptor of Byway's own, or a negative errno. */
int bell_make(void);
void bell_ring(int fd);
void bell_empty(int fd);

/* The bell `k` of our own end that `owner` may sleep on, or -1: the same one each time it asks, until it gives it back. A
 * handler that sleeps within a sleep is another owner. */
int pair_bell_lease(struct pair *pair, uint64_t owner);
/* Once or several times: who has it since keeps it. */
void pair_bell_return(struct pair *pair, int bell, uint64_t owner);
/* As if it had never been rung. */
void pair_bell_empty(struct pair *pair, int bell);
/* Rings those of the peer's bells that are in `mask`. */
void pair_ring(struct pair *pair, uint32_t mask);
/* Wakes our own sleepers on bell `bell`. */
void pair_ring_own(struct pair *pair, int bell);

static inline struct shm_pair_end *pair_own(struct pair *pair)
{
	return &pair->shared->ends[pair->end];
}
static inline struct shm_pair_end *pair_peer(struct pair *pair)
{
	return &pair->shared->ends[1 - pair->end];
}

#endif
