/* The lock of a direction, and taking it over: docs/local-transport.md, sections 2 and 3.3; docs/design.md, section 5.
 *
 * Mirrors: base/lock.h and the publish of the sender. Two senders (say a process and its child) share one direction.
 * Who holds the lock may be slow without bound (stopped) or die between any two steps; the other takes the lock over,
 * puts its own generation into `tail`, and so has a late publish of the old owner refused.
 * What the generation cannot refuse are plain stores and calls of the kernel. So this model has two rules more:
 *   - the lock word says when its owner does nothing but copy into the ring and publish (COPY). Only then, or when it is
 *     dead, is the lock taken over; an owner that records a change or sends by the kernel is waited for;
 *   - who has taken over from an owner that is not known to be dead does not write into the ring: the old owner may yet go
 *     on with its copy. The direction moves to the kernel, and stays there until the old owner has left or is dead.
 * Proves: the receiver gets exactly the bytes that sends accepted, in the order in which they did.
 * Variants that must fail:
 *   NO_GENERATION       the new owner does not change the generation in `tail`
 *   RING_AFTER_STOPPED  the new owner writes into the ring though the old one may only be stopped
 *   ANY_PHASE           the lock is taken over whatever its owner does */

#define PROCESSES 3
#define WORDS 8
#define RECEIVER 2
#include "tso.h"

#define LOCK 0
#define TAIL 1
#define CHANGE_COUNT 2 /* at most two: to the ring, and back to the kernel for good */
#define CHANGE_OFFSET(i) (2 + (i))
#define RING(i) (5 + (i))

#define COPY 4          /* bit of LOCK; below it the owner: sender + 1 */
#define GENERATION 16   /* bits of TAIL above the offset */
#define OFFSET(word) ((word) % GENERATION)

#define SENDS(s) (2 - (s))
#define BYTES 3

byte kernel_byte[BYTES], kernel_sent, kernel_read;
byte accepted_byte[BYTES], accepted; /* what the stream must be */
byte finished;                        /* senders that are through, or dead */
bit dead[2];
bit refused, taken_over;              /* witnesses */

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

/* After this the lock is ours; `ring` says whether we may write into the ring. */
inline acquire()
{
	do
	:: LOAD(me, LOCK, word);
		if
		:: word == 0 ->
			CAS(me, LOCK, 0, me + 1, done);
			if
			:: done -> ring = 1; break
			:: else -> skip
			fi
#ifdef ANY_PHASE
		:: word != 0 ->
#else
		:: word != 0 && ((word & COPY) || dead[1 - me]) ->
#endif
			ring = dead[1 - me];
#ifdef RING_AFTER_STOPPED
			ring = 1;
#endif
			CAS(me, LOCK, word, me + 1, done);
			if
			:: done ->
				taken_over = 1;
#ifndef NO_GENERATION
				d_step { FENCE(me) -> memory[TAIL] = memory[TAIL] + GENERATION };
#endif
				break
			:: else -> skip
			fi
#ifndef ANY_PHASE
		:: word != 0 && !(word & COPY) && !dead[1 - me] -> memory[LOCK] != word || dead[1 - me]
#endif
		fi
	od;
	word = 0;
	done = 0
}

active [2] proctype sender()
{
	byte me = _pid - PROCESSES;
	byte sent, word, tail, value;
	bit ring, done;

	do
	:: sent == SENDS(me) -> break
	:: else ->
		value = (me + 1) * 10 + sent;
		acquire();
		may_die();
		LOAD(me, CHANGE_COUNT, word);
		if
		:: word < 2 && ring ->
			if
			:: word == 0 ->
				d_step { KERNEL(me) -> tail = kernel_sent };
				STORE(me, CHANGE_OFFSET(1), tail);
				STORE(me, CHANGE_COUNT, 1)
			:: else -> skip
			fi;
			LOAD(me, TAIL, tail);
			CAS(me, LOCK, me + 1, (me + 1) | COPY, done);
			/* from here on the lock may be another's */
			if
			:: done ->
				may_die();
				STORE(me, RING(OFFSET(tail)), value);
				may_die();
				d_step {
					FENCE(me) ->
					if
					:: memory[TAIL] == tail -> memory[TAIL] = tail + 1; accept(); sent++
					:: else -> refused = 1
					fi
				};
				may_die();
				CAS(me, LOCK, (me + 1) | COPY, 0, done)
			:: else -> skip
			fi
		:: true ->
			if
			:: word == 1 ->
				LOAD(me, TAIL, tail);
				STORE(me, CHANGE_OFFSET(2), OFFSET(tail));
				STORE(me, CHANGE_COUNT, 2)
			:: else -> skip
			fi;
			may_die();
			d_step { KERNEL(me) -> kernel_byte[kernel_sent] = value; kernel_sent++; accept(); sent++ };
			may_die();
			CAS(me, LOCK, me + 1, 0, done)
		fi;
		atomic { word = 0; tail = 0; done = 0; ring = 0 }
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
	WITNESS(refused && taken_over && accepted == BYTES && head > 0 && kernel_read > 0)
}
