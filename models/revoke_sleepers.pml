/* Several receivers that have no bell, and a revoke for good among them: docs/local-transport.md, sections 5 and 7.
 *
 * Mirrors: a blocking receiver without a bell, which sets REVOKED, sleeps in the kernel and clears REVOKED afterwards; and
 * the call that takes the ring out of use for good.
 * Two receivers (threads, or processes that share the socket) sleep on one direction. The first may time out, or revoke
 * for good and leave; the second stays until every byte was received. Order is the matter of revoke.pml.
 * What this needs beyond the word REVOKED: the sleepers are counted, the last one clears the bit, under the receiver's
 * lock; and a revoke for good is another bit (NEVER) that nobody clears.
 * Proves: nobody sleeps in the kernel for ever while bytes are in the ring; nothing is published after a revoke for good.
 * Variants that must fail:
 *   CLEAR_ALONE  a receiver that wakes clears REVOKED though another still sleeps
 *   CLEAR_UNLOCKED the last sleeper counts down and clears REVOKED without the lock
 *   ONE_BIT      a revoke for good is the same bit and a flag beside it, looked at before the bit is cleared */

#define PROCESSES 3
#define WORDS 4
#define SENDER 2
#include "tso.h"

#define TAIL 0
#define HEAD 1
#define SLEEPERS 2
#define FOR_GOOD 3 /* the flag of ONE_BIT */
#define REVOKED 128
#define NEVER 64
#define OFFSET(word) ((word) & 63)

#define BYTES 3

byte kernel_sent, kernel_read, received;
bit for_good;        /* the revoke for good is done */
bit receiver_lock;
bit slept, took_ring;

active [2] proctype receiver()
{
	byte me = _pid - PROCESSES;
	byte head, word;
	bit done, gone;

	do
	:: received == BYTES || gone -> break
	:: else ->
		LOAD(me, HEAD, head);
		LOAD(me, TAIL, word);
		if
		:: head < OFFSET(word) ->
			d_step {
				FENCE(me) -> /* CAS of head */
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
		:: head == OFFSET(word) && me == 0 -> /* revoke for good, the ring being empty */
#ifdef ONE_BIT
			STORE(me, FOR_GOOD, 1);
			CAS(me, TAIL, word, word | REVOKED, done);
#else
			CAS(me, TAIL, word, word | NEVER, done);
#endif
			if
			:: done -> for_good = 1; gone = 1
			:: else -> skip
			fi
		:: head == OFFSET(word) && kernel_read == kernel_sent ->
			atomic { receiver_lock == 0 -> receiver_lock = 1 };
			d_step { FENCE(me) -> memory[SLEEPERS]++ };
			LOAD(me, HEAD, head);
			LOAD(me, TAIL, word);
			done = 0;
			if
			:: head == OFFSET(word) -> CAS(me, TAIL, word, word | REVOKED, done)
			:: else -> skip
			fi;
			receiver_lock = 0;
			if
			:: done ->
				if /* ppoll */
				:: kernel_read < kernel_sent -> slept = 1
				:: received == BYTES -> skip
				:: me == 0 -> gone = 1 /* its time is over */
				fi
			:: else -> skip
			fi;
#ifndef CLEAR_UNLOCKED
			atomic { receiver_lock == 0 -> receiver_lock = 1 };
#endif
			d_step { FENCE(me) -> memory[SLEEPERS]--; word = memory[SLEEPERS] };
			if
#ifdef CLEAR_ALONE
			:: true -> AND(me, TAIL, 255 - REVOKED)
#else
#ifdef ONE_BIT
			:: word == 0 && SEEN(me, FOR_GOOD) == 0 -> AND(me, TAIL, 255 - REVOKED)
#else
			:: word == 0 -> AND(me, TAIL, 255 - REVOKED)
#endif
			:: else -> skip
#endif
			fi;
#ifndef CLEAR_UNLOCKED
			receiver_lock = 0
#endif
		fi;
		atomic { head = 0; word = 0; done = 0 }
	od;
	WITNESS(received == BYTES && slept && took_ring)
}

active proctype sender()
{
	byte sent, word;

	do
	:: sent == BYTES -> break
	:: else ->
		LOAD(SENDER, TAIL, word);
		if
		:: word >= NEVER -> d_step { KERNEL(SENDER) -> kernel_sent++; sent++ }
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
