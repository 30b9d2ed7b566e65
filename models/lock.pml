/* The lock of a direction, and taking it over from the dead: docs/local-transport.md, sections 2 and 3.
 *
 * Mirrors: lock_acquire, lock_contended, take_over, lock_release; local_lock_writer; send_step with record_change, ring_step,
 * kernel_step.
 * Two senders (say a process and its child) share one direction. The first may die between any two steps; the other finds
 * out, takes the lock over, and raises the generation in `tail`. An owner that lives is waited for, however slow it is: its
 * late stores and calls of the kernel could be refused by nothing. (With dead owners only, the generation refuses nothing: it
 * is there in case the system says of a living thread that it is gone.) The lock is given back by a plain store.
 * For the reader's lock, see head_store.pml.
 * Proves: the receiver gets exactly the bytes that sends accepted, in the order in which they did.
 * Variants that must fail:
 *   FROM_LIVING   the lock is taken over from an owner that is not known to be dead
 *   RECORD_LATE   a change is recorded after the first byte on the new carrier
 *   COUNT_FIRST   change_count is stored before its change_offset
 *   COUNT_KEPT    a sender goes by the change_count that it knew when it last had the lock */

#define PROCESSES 3
#define WORDS 8
#define RECEIVER 2
#include "tso.h"

#define LOCK 0 /* 0: free; else sender + 1 */
#define TAIL 1
#define CHANGE_COUNT 2 /* at most two: to the ring, and back to the kernel for good */
#define CHANGE_OFFSET(i) (2 + (i))
#define RING(i) (5 + (i))

#define GENERATION 16   /* bits of TAIL above the offset */
#define OFFSET(word) ((word) % GENERATION)

#define SENDS(s) (2 - (s))
#define BYTES 3

#ifdef FROM_LIVING
#define GONE(owner) 1
#else
#define GONE(owner) dead[(owner) - 1]
#endif

byte kernel_byte[BYTES], kernel_sent, kernel_read;
byte accepted_byte[BYTES], accepted; /* what the stream must be */
byte finished;                        /* senders that are through, or dead */
bit dead[2];
bit taken_over;                       /* witness */

inline accept()
{
	accepted_byte[accepted] = value;
	accepted++
}

inline may_die()
{
	if
	:: me == 0 -> goto death
	:: skip
	fi
}

inline acquire()
{
	do
	:: LOAD(me, LOCK, word);
		if
		:: word == 0 ->
			CAS(me, LOCK, 0, me + 1, done);
			if
			:: done -> break
			:: else -> skip
			fi
		:: word != 0 && GONE(word) ->
			CAS(me, LOCK, word, me + 1, done);
			if
			:: done ->
				taken_over = 1;
				d_step { FENCE(me) -> memory[TAIL] = memory[TAIL] + GENERATION };
				break
			:: else -> skip
			fi
		:: word != 0 && !GONE(word) -> memory[LOCK] != word || GONE(word)
		fi
	od;
	atomic { word = 0; done = 0 }
}

inline record_change(number, offset)
{
#ifdef COUNT_FIRST
	STORE(me, CHANGE_COUNT, number);
	may_die();
	STORE(me, CHANGE_OFFSET(number), offset);
#else
	STORE(me, CHANGE_OFFSET(number), offset);
	may_die();
	STORE(me, CHANGE_COUNT, number);
#endif
	may_die()
}

inline ring_send()
{
#ifndef RECORD_LATE
	if
	:: changes == 0 ->
		d_step { KERNEL(me) -> tail = kernel_sent };
		record_change(1, tail)
	:: else -> skip
	fi;
#else
	limit = kernel_sent;
#endif
	LOAD(me, TAIL, tail);
	STORE(me, RING(OFFSET(tail)), value);
	may_die();
	d_step {
		FENCE(me) ->
		if
		:: memory[TAIL] == tail -> memory[TAIL] = tail + 1; accept(); sent++
		:: else -> skip
		fi
	}
#ifdef RECORD_LATE
	; may_die();
	if
	:: changes == 0 -> record_change(1, limit)
	:: else -> skip
	fi
#endif
}

inline kernel_send()
{
#ifndef RECORD_LATE
	if
	:: changes == 1 -> LOAD(me, TAIL, tail); record_change(2, OFFSET(tail))
	:: else -> skip
	fi;
#endif
	d_step { KERNEL(me) -> kernel_byte[kernel_sent] = value; kernel_sent++; accept(); sent++ }
#ifdef RECORD_LATE
	; may_die();
	if
	:: changes == 1 -> LOAD(me, TAIL, tail); record_change(2, OFFSET(tail))
	:: else -> skip
	fi
#endif
}

active [2] proctype sender()
{
	byte me = _pid - PROCESSES;
	byte sent, word, tail, value, changes;
	bit done;
#ifdef RECORD_LATE
	byte limit;
#endif

	do
	:: sent == SENDS(me) -> break
	:: else ->
		value = (me + 1) * 10 + sent;
		acquire();
		may_die();
#ifndef COUNT_KEPT
		LOAD(me, CHANGE_COUNT, changes);
#endif
		if
		:: changes < 2 -> ring_send()
		:: true -> kernel_send()
		fi;
#ifdef COUNT_KEPT
		LOAD(me, CHANGE_COUNT, changes);
#else
		changes = 0;
#endif
		may_die();
		STORE(me, LOCK, 0);
		atomic { word = 0; tail = 0; done = 0 }
	od;
	goto through;
death:	KERNEL(me);
	dead[me] = 1;
through: finished++
}

active proctype receiver()
{
	byte received, head, taken, value, tail, count, limit;

	do
	:: LOAD(RECEIVER, TAIL, tail);
		tail = OFFSET(tail);
		limit = kernel_sent; /* SIOCINQ, before the look at change_count */
		LOAD(RECEIVER, CHANGE_COUNT, count);
		if
		:: taken % 2 == 1 ->
			if
			:: taken < count -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), tail)
			:: else -> skip
			fi;
			if
			:: head < tail ->
				LOAD(RECEIVER, RING(head), value);
				assert(value == accepted_byte[received]);
				d_step { received++; head++; value = 0 }
			:: head >= tail && taken < count -> taken++
			:: head >= tail && taken == count ->
				if
				:: finished == 2 && received == accepted -> break
				:: OFFSET(memory[TAIL]) > head || memory[CHANGE_COUNT] != count -> skip
				fi
			fi
		:: else ->
			if
			:: taken < count -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit)
			:: else -> skip
			fi;
			if
			:: kernel_read < limit ->
				kernel_read < kernel_sent;
				assert(kernel_byte[kernel_read] == accepted_byte[received]);
				d_step { received++; kernel_read++ }
			:: kernel_read >= limit && taken < count -> taken++
			:: kernel_read >= limit && taken == count ->
				if
				:: finished == 2 && received == accepted -> break
				:: kernel_read < kernel_sent || memory[CHANGE_COUNT] != count -> skip
				fi
			fi
		fi;
		atomic { tail = 0; count = 0; limit = 0 }
	od;
	WITNESS(taken_over && accepted == BYTES && head > 0 && kernel_read > 0)
}
