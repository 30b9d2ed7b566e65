/* Taking unread bytes back out of the ring: docs/local-transport.md, section 7 (TAKEN).
 *
 * Mirrors: what a sender does that sees its receiver's half_closed mark (or resend_wanted) while bytes are unread in the
 * ring; the receiver's advance of `head`.
 * Byte 0 goes by the ring, byte 1 by the kernel or the ring, byte 2 by the ring; so an earlier ring segment can still be
 * unread when the mark is seen. Then the receiver has revoked for good, and the sender takes back what it may: sets TAKEN
 * by CAS of `head`, records the move to the kernel with the offset of that head, sends the bytes [head, tail) by the
 * kernel. If the kernel takes only a part, the rest stays in the ring: `head` without TAKEN is set behind that part, then a
 * change to the ring is recorded. Then a last byte by the kernel, and FIN. It may die between any two steps.
 * A receiver that has seen the end receives from the ring what the dead sender did not send again: with TAKEN, of the
 * bytes [head, tail) all but the first (position - position at which it passed the last change); without, all of them.
 * -DREACH -DREACH_RECOVERED: the other witness, a sender that died halfway.
 * Proves: every byte that send() accepted is received once and in order, and all before the end is believed.
 * Variants that must fail:
 *   TAKEN_PLAIN        TAKEN is set by a load and a store (and a fence), not by CAS
 *   HEAD_PLAIN         the receiver advances `head` by a store (and a fence), not by CAS
 *   OFFSET_OF_TAIL     the move to the kernel is recorded at the ring offset of `tail`, not of the head that was taken
 *   CHANGE_FIRST       the move to the kernel is recorded before TAKEN is set, at the head seen then
 *   EARLIER_SEGMENT    bytes are taken back though `head` is still in an earlier ring segment
 *   HEAD_AFTER_COUNT   the receiver loads `head` after change_count
 *   RETURN_FIRST       the change back to the ring is recorded before `head` is set and TAKEN cleared
 *   UNREAD_AT_ONCE     on the kernel carrier, unread bytes in the ring are received before the end was seen
 *   NO_RECOVERY        the receiver does not look for bytes of a sender that died while it took back */

#define PROCESSES 2
#define WORDS 12
#define SENDER 0
#define RECEIVER 1
#include "tso.h"

#define TAIL 0
#define CHANGE_COUNT 1
#define HEAD 2
#define HALF_CLOSED 3
#define CHANGE_OFFSET(i) (4 + (i))
#define TAKEN 128
#define OFFSET(word) ((word) & 127)

#define BYTES 4

byte kernel_byte[BYTES + BYTES], kernel_sent, kernel_read; /* no wire: see carrier_change.pml */
bit fin;
byte ring_byte[BYTES];
byte accepted;
bit taken_back, returned, died, recovered; /* witnesses */

inline may_die()
{
	if
	:: died = 1; goto dead
	:: skip
	fi
}

inline record_change(offset)
{
	changes++;
	STORE(SENDER, CHANGE_OFFSET(changes), offset);
	STORE(SENDER, CHANGE_COUNT, changes)
}

inline kernel_send(value)
{
	d_step { KERNEL(SENDER) -> kernel_byte[kernel_sent] = value; kernel_sent++ }
}

inline ring_send()
{
	if
	:: changes % 2 == 0 ->
		KERNEL(SENDER);
		d_step { segment = tail; n = kernel_sent };
		record_change(n)
	:: else -> skip
	fi;
	d_step { FENCE(SENDER) -> ring_byte[tail] = accepted; tail++; memory[TAIL] = tail; accepted++ }
}

active proctype sender()
{
	byte tail, changes;
	byte segment;   /* ring offset at which the present ring segment begins */
	byte head, n;
	bit done, partial;

	ring_send();
	if
	:: true -> record_change(tail); kernel_send(accepted); accepted++
	:: true -> ring_send()
	fi;
	ring_send();
	may_die();

	/* the mark is seen, REVOKED is set */
	SEEN(SENDER, HALF_CLOSED);
	do
	:: LOAD(SENDER, HEAD, head);
		if
#ifdef EARLIER_SEGMENT
		:: head == tail -> break
#else
		:: head == tail || head < segment -> break /* nothing to take, or not ours to take */
#endif
		:: else ->
#ifdef CHANGE_FIRST
			record_change(head);
#endif
#ifdef TAKEN_PLAIN
			STORE(SENDER, HEAD, head | TAKEN);
			FENCE(SENDER);
			done = 1;
#else
			CAS(SENDER, HEAD, head, head | TAKEN, done);
#endif
			if
			:: done -> break
			:: else -> skip
			fi
#ifdef CHANGE_FIRST
			; break /* too late to record another place */
#endif
		fi
	od;
	may_die();
#ifndef CHANGE_FIRST
#ifdef OFFSET_OF_TAIL
	record_change(tail);
#else
	if
	:: done -> record_change(head)
	:: else -> record_change(tail)
	fi;
#endif
#else
	if
	:: changes % 2 == 1 -> record_change(tail)
	:: else -> skip
	fi;
#endif
	may_die();
	if
	:: done ->
		taken_back = 1;
		do
		:: head == tail -> break
		:: head < tail -> partial = 1; break /* the kernel has no more room */
		:: head < tail ->
			kernel_send(ring_byte[head]);
			head++;
			may_die()
		od;
#ifdef RETURN_FIRST
		if
		:: partial -> n = kernel_sent; record_change(n); FENCE(SENDER)
		:: else -> skip
		fi;
		may_die();
#endif
		atomic { FENCE(SENDER) -> memory[HEAD] = head };
		may_die();
#ifndef RETURN_FIRST
		if
		:: partial -> n = kernel_sent; record_change(n)
		:: else -> skip
		fi;
		may_die()
#endif
	:: else -> skip
	fi;
	if
	:: partial -> returned = 1; record_change(tail)
	:: else -> skip
	fi;
	may_die();
	kernel_send(accepted);
	accepted++;
dead:	KERNEL(SENDER);
	fin = 1
}

inline receive(value)
{
	assert(value == received);
	received++
}

active proctype receiver()
{
	byte received;
	byte taken, head, word;
	byte passed;      /* kernel position at which the last change to the kernel was passed */
	byte tail, changes, limit;
	bit done, end;

	do
	:: SEEN(RECEIVER, HALF_CLOSED) == 0 ->
		OR(RECEIVER, HALF_CLOSED, 1) /* and REVOKED for good */
	:: true ->
		d_step { KERNEL(RECEIVER) -> end = fin && kernel_read == kernel_sent };
#ifdef HEAD_AFTER_COUNT
		LOAD(RECEIVER, TAIL, tail);
		LOAD(RECEIVER, CHANGE_COUNT, changes);
		LOAD(RECEIVER, HEAD, word);
#else
		LOAD(RECEIVER, HEAD, word);
		LOAD(RECEIVER, TAIL, tail);
		LOAD(RECEIVER, CHANGE_COUNT, changes);
#endif
		head = OFFSET(word);
		if
		:: taken % 2 == 1 ->
			if
			:: taken < changes -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit)
			:: else -> limit = tail
			fi;
			if
			:: head < limit && word < TAKEN ->
#ifdef HEAD_PLAIN
				STORE(RECEIVER, HEAD, head + 1);
				FENCE(RECEIVER);
				done = 1;
#else
				CAS(RECEIVER, HEAD, word, head + 1, done);
#endif
				if
				:: done -> receive(ring_byte[head])
				:: else -> skip /* taken back: it comes by the kernel */
				fi
			:: (head >= limit || word >= TAKEN) && taken < changes ->
				assert(head == limit || (head > limit && word < TAKEN));
				d_step { taken++; passed = kernel_read }
			:: (head >= limit || word >= TAKEN) && taken == changes ->
				if
				:: end -> break /* `end` was seen before tail and changes were */
				:: else -> fin || memory[HEAD] != word || memory[TAIL] != tail || memory[CHANGE_COUNT] != changes || memory[HALF_CLOSED] == 0
				fi
			fi
#ifdef UNREAD_AT_ONCE
		:: taken % 2 == 0 && taken == changes && word < TAKEN && head < SEEN(RECEIVER, TAIL) ->
			CAS(RECEIVER, HEAD, word, head + 1, done);
			if
			:: done -> receive(ring_byte[head])
			:: else -> skip
			fi
#endif
		:: taken % 2 == 0 && taken < changes && SEEN(RECEIVER, CHANGE_OFFSET(taken + 1)) == kernel_read ->
			taken++
		:: taken % 2 == 0 && (taken == changes || SEEN(RECEIVER, CHANGE_OFFSET(taken + 1)) != kernel_read) ->
			d_step { limit = kernel_sent > kernel_read };
			LOAD(RECEIVER, CHANGE_COUNT, word);
			if
			:: word != changes -> skip
			:: word == changes && limit ->
				d_step { receive(kernel_byte[kernel_read]); kernel_read++ }
			:: word == changes && !limit && end -> break
			:: word == changes && !limit && !end -> kernel_read < kernel_sent || fin || memory[CHANGE_COUNT] != changes || memory[HALF_CLOSED] == 0
			fi
		fi;
		atomic { done = 0; end = 0; tail = 0; changes = 0; limit = 0; word = 0; head = 0 }
	od;
#ifndef NO_RECOVERY
	LOAD(RECEIVER, HEAD, word);
	head = OFFSET(word);
	if
	:: word >= TAKEN && taken % 2 == 0 -> head = head + (kernel_read - passed)
	:: else -> skip /* it died before it recorded the change, or after it cleared TAKEN */
	fi;
	do
	:: head < SEEN(RECEIVER, TAIL) ->
		receive(ring_byte[head]);
		head++;
		recovered = 1
	:: else -> break
	od;
#endif
	assert(received == accepted);
#ifdef REACH_RECOVERED
	WITNESS(taken_back && recovered && kernel_read > 0 && memory[TAIL] == 3)
#else
	WITNESS(taken_back && returned && !died && received == BYTES && kernel_read > 2)
#endif
}
