/* Several receivers that have no bell, and a revoke for good among them: docs/local-transport.md, sections 5 and 7.
 *
 * Mirrors: sleep_in_kernel with local_kernel_sleep_begins, revoke_empty, local_kernel_sleep_ends, allow; revoke_for_good.
 * Two receivers (threads) sleep on one direction. The first may find its time over, or revoke for good at any moment, without
 * the lock, and leave; the second stays until every byte was received. Order is the matter of revoke.pml.
 * What this needs beyond the word REVOKED: the sleepers are counted, the last one clears the bit, under the reader's
 * lock; and a revoke for good is another bit beside it (NEVER), which who clears REVOKED must not overlook. The sender looks
 * at REVOKED only. The lock is given back by a plain store.
 * Proves: nobody sleeps in the kernel for ever while bytes are in the ring; nothing is published after a revoke for good.
 * Variants that must fail:
 *   CLEAR_ALONE      a receiver that wakes clears REVOKED though another still sleeps
 *   CLEAR_UNLOCKED   the last sleeper counts down and clears REVOKED without the lock
 *   NEVER_OVERLOOKED the last sleeper looks for NEVER, and clears REVOKED by an AND, not by CAS
 *   ONE_BIT          a revoke for good is the same bit and a flag beside it, looked at before the bit is cleared
 *   NEVER_PLAIN      a revoke for good is a load and a store (and a fence) */

#define PROCESSES 3
#define WORDS 5
#define SENDER 2
#include "tso.h"

#define TAIL 0
#define HEAD 1
#define SLEEPERS 2
#define LOCK 3
#define FOR_GOOD 4 /* the flag of ONE_BIT */
#define REVOKED 128
#define NEVER 64
#define OFFSET(word) ((word) & 63)

#define BYTES 3

byte kernel_sent, kernel_read, received;
bit for_good;        /* the revoke for good is done */
bit slept, took_ring, kept;

inline acquire()
{
	do
	:: memory[LOCK] == 0 ->
		CAS(me, LOCK, 0, 1, done);
		if
		:: done -> break
		:: else -> skip
		fi
	od;
	done = 0
}

inline release()
{
	STORE(me, LOCK, 0)
}

/* Counts the sleeper, and revokes the ring if it is empty: then `done`. */
inline sleep_begins()
{
	acquire();
	LOAD(me, SLEEPERS, n);
	STORE(me, SLEEPERS, n + 1);
	do
	:: LOAD(me, TAIL, word);
		LOAD(me, HEAD, head);
		if
		:: word & REVOKED -> done = head == OFFSET(word); break
		:: !(word & REVOKED) && head != OFFSET(word) -> break
		:: !(word & REVOKED) && head == OFFSET(word) ->
			CAS(me, TAIL, word, word | REVOKED, done);
			if
			:: done -> break
			:: else -> skip
			fi
		fi
	od;
	release()
}

inline allow()
{
	LOAD(me, SLEEPERS, n);
	do
	:: LOAD(me, TAIL, word);
		if
#ifdef CLEAR_ALONE
		:: (word & NEVER) || !(word & REVOKED) -> break
		:: !(word & NEVER) && (word & REVOKED) ->
#else
#ifdef ONE_BIT
		:: SEEN(me, FOR_GOOD) || !(word & REVOKED) || n > 0 -> break
		:: !SEEN(me, FOR_GOOD) && (word & REVOKED) && n == 0 ->
#else
		:: (word & NEVER) || !(word & REVOKED) || n > 0 -> break
		:: !(word & NEVER) && (word & REVOKED) && n == 0 ->
#endif
#endif
#ifdef NEVER_OVERLOOKED
			AND(me, TAIL, 255 - REVOKED);
			done = 1;
#else
			CAS(me, TAIL, word, word & (255 - REVOKED), done);
#endif
			if
			:: done -> break
			:: else -> kept = 1
			fi
		fi
	od
}

inline sleep_ends()
{
#ifndef CLEAR_UNLOCKED
	acquire();
#endif
	LOAD(me, SLEEPERS, n);
	STORE(me, SLEEPERS, n - 1);
	done = 0;
	allow();
#ifndef CLEAR_UNLOCKED
	release()
#endif
}

inline revoke_for_good()
{
#ifdef ONE_BIT
	STORE(me, FOR_GOOD, 1);
	OR(me, TAIL, REVOKED);
#else
#ifdef NEVER_PLAIN
	LOAD(me, TAIL, word);
	STORE(me, TAIL, word | REVOKED | NEVER);
	FENCE(me);
#else
	OR(me, TAIL, REVOKED | NEVER);
#endif
#endif
	for_good = 1;
	gone = 1
}

active [2] proctype receiver()
{
	byte me = _pid - PROCESSES;
	byte head, word, n;
	bit done, gone;

	do
	:: received == BYTES || gone -> break
	:: me == 0 && received < BYTES && !gone -> revoke_for_good()
	:: received < BYTES && !gone ->
		LOAD(me, HEAD, head);
		LOAD(me, TAIL, word);
		if
		:: head < OFFSET(word) -> /* under the lock: no other take can come between */
			d_step {
				FENCE(me) && memory[LOCK] == 0 ->
				if
				:: memory[HEAD] == head -> memory[HEAD] = head + 1; received++; took_ring = 1
				:: else -> skip
				fi
			}
		:: head == OFFSET(word) && kernel_read < kernel_sent ->
			d_step {
				if
				:: kernel_read < kernel_sent -> kernel_read++; received++
				:: else -> skip
				fi
			}
		:: head == OFFSET(word) && kernel_read == kernel_sent ->
			sleep_begins();
			if
			:: done ->
				if /* ppoll */
				:: kernel_read < kernel_sent -> slept = 1
				:: received == BYTES -> skip
				:: me == 0 -> gone = 1 /* its time is over */
				fi
			:: else -> skip
			fi;
			sleep_ends()
		fi;
		atomic { head = 0; word = 0; n = 0; done = 0 }
	od;
	WITNESS(received == BYTES && slept && took_ring && kept)
}

active proctype sender()
{
	byte sent, word;

	do
	:: sent == BYTES -> break
	:: else ->
		LOAD(SENDER, TAIL, word);
		if
		:: word & REVOKED -> d_step { KERNEL(SENDER) -> kernel_sent++; sent++ }
		:: else ->
			d_step {
				FENCE(SENDER) ->
				if
				:: memory[TAIL] == word ->
					assert(!for_good);
					memory[TAIL] = word + 1;
					sent++
				:: else -> skip
				fi
			}
		fi;
		word = 0
	od
}
