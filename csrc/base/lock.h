/* A lock whose owner is in the same word, for memory that several processes of one family map.
 *
 * Word: bits 0–31 thread id of the owner (0: free), bits 32–45 generation.
 * The generation also stands in the word that the lock protects (ring tail or head). A tail is published by
 * compare-and-swap; a head too, where somebody else may write it (local/recv.c). Only a dead owner's lock is taken over:
 * a stopped one may still be in the middle of a copy or of a kernel call, whose late effect no generation can refuse
 * (models/lock.pml). Taken inside a critical section, for a bounded time only: an owner never sleeps. */
#ifndef BYWAY_BASE_LOCK_H
#define BYWAY_BASE_LOCK_H

#include "base/cpu.h"
#include "base/critical.h"

#define LOCK_GENERATION_SHIFT 32
#define LOCK_GENERATION_MASK 0x3fff
#define LOCK_OWNER_MASK 0xffffffffu

/* Whether the ids in lock words mean what they mean to this process: not where a member of the family lives in another
 * process-id namespace. NULL: always. Set once at start. */
extern int (*lock_owners_are_known)(void);

/* Slow path: waits, and takes over from a dead owner. Returns 1 when it took over. */
int lock_contended(uint64_t *word);

static inline uint64_t lock_generation(uint64_t word)
{
	return (word >> LOCK_GENERATION_SHIFT) & LOCK_GENERATION_MASK;
}

static inline int lock_take_free(uint64_t *word)
{
	uint64_t free = load_relaxed(word) & ~(uint64_t)LOCK_OWNER_MASK;

	return compare_swap(word, &free, free | (uint32_t)thread_id());
}

/* Returns 1 when the lock was taken over: the protected word's generation must be raised before it is used. */
static inline int lock_acquire(uint64_t *word)
{
	critical_enter();
	return likely(lock_take_free(word)) ? 0 : lock_contended(word);
}

/* 1: taken, lock_release must follow. 0: somebody has it, who may be dead. Never waits. */
static inline int lock_try(uint64_t *word)
{
	critical_enter();
	if (likely(lock_take_free(word)))
		return 1;
	critical_leave();
	return 0;
}

/* A plain store: while its owner lives nobody else writes a held lock. One that is not ours is left alone. */
static inline void lock_release(uint64_t *word)
{
	uint64_t held = load_relaxed(word);

	if (likely((held & LOCK_OWNER_MASK) == (uint32_t)thread_id()))
		store_release(word, held & ~(uint64_t)LOCK_OWNER_MASK);
	critical_leave();
}

/* The same, and a full fence: what is read afterwards was not read before. */
static inline void lock_release_fenced(uint64_t *word)
{
	uint64_t held = load_relaxed(word);

	if (likely((held & LOCK_OWNER_MASK) == (uint32_t)thread_id()))
		exchange(word, held & ~(uint64_t)LOCK_OWNER_MASK);
	critical_leave();
}

/* The owner ended whole (csrc/local/pass.c), and nobody else can have the lock. */
static inline void lock_forget_owner(uint64_t *word)
{
	fetch_and(word, ~(uint64_t)LOCK_OWNER_MASK);
}

#endif
