/* Taking unread bytes back out of the ring: docs/local-transport.md, section 7 (TAKEN, resend_wanted).
 *
 * Mirrors: sock_into_kernel (revoke_for_good, then local_request_resend as often as it likes); local_take_back with
 * take_back, untake; ring_take; believe_end with recover_taken_back.
 * The sender chooses the carrier for every byte, until it is revoked for good. When it is asked, it takes back what it may:
 * sets TAKEN by CAS of `head`, records the move to the kernel with the offset of that head, sends the bytes [head, tail) by
 * the kernel. If the kernel takes only a part, the rest stays in the ring: `head` without TAKEN is set behind that part,
 * then a change to the ring is recorded. Then FIN. It may die between any two steps.
 * A receiver that has seen the end receives from the ring what the dead sender did not send again: with TAKEN, of the
 * bytes [head, tail) all but the first (position - position at which the last ring segment began); without, all of them.
 * A receiver that reads on meanwhile moves `head` by CAS here, as it must once NEVER is in `tail`; for before, see
 * head_store.pml. A receiver that does the sender's work itself is in hand_back.pml.
 * -DREACH -DREACH_RECOVERED: the other witness, a sender that died halfway.
 * Proves: every byte that send() accepted is received once and in order, and all before the end is believed.
 * Variants that must fail:
 *   TAKEN_PLAIN        TAKEN is set by a load and a store (and a fence), not by CAS
 *   HEAD_PLAIN         the receiver advances `head` by a store (and a fence), not by CAS
 *   OFFSET_OF_TAIL     the move to the kernel is recorded at the ring offset of `tail`, not of the head that was taken
 *   CHANGE_FIRST       the move to the kernel is recorded before TAKEN is set, at the head seen then
 *   PENDING_UNBOUNDED  bytes are taken back though the receiver has not passed all changes: more are pending than there are slots
 *   HEAD_AFTER_COUNT   the receiver loads `head` after change_count
 *   RETURN_FIRST       the change back to the ring is recorded before `head` is set and TAKEN cleared
 *   UNREAD_AT_ONCE     on the kernel carrier, unread bytes in the ring are received before the end was seen
 *   NO_RECOVERY        the receiver does not look for bytes of a sender that died while it took back
 *   TAKEN_ALONE        it looks for them only where TAKEN has stayed in `head` */

#define PROCESSES 2
#define WORDS 9
#define SENDER 0
#define RECEIVER 1
#include "tso.h"

#define TAIL 0
#define CHANGE_COUNT 1
#define HEAD 2
#define RESEND_WANTED 3
#define CHANGES_TAKEN 4
#define SLOTS 4 /* 8 in C: at most three changes are pending */
#define CHANGE_OFFSET(i) (5 + ((i) % SLOTS))
#define NEVER 64
#define TAKEN 128
#define OFFSET(word) ((word) & 63)

#define BYTES 3
#define ASKS_MAX 2

byte kernel_byte[BYTES], kernel_sent, kernel_read; /* no wire: see carrier_change.pml */
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
	may_die();
	STORE(SENDER, CHANGE_COUNT, changes);
	may_die()
}

inline kernel_send(value)
{
	d_step { KERNEL(SENDER) -> kernel_byte[kernel_sent] = value; kernel_sent++ }
}

inline move_to_kernel()
{
	if
	:: changes % 2 == 1 -> record_change(tail)
	:: else -> skip
	fi
}

/* TAKEN in `head`, or !done: nothing is there to take. */
inline set_taken()
{
	do
	:: LOAD(SENDER, HEAD, head);
		if
		:: head == tail -> break
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
	may_die()
}

inline take_back_taken()
{
#ifndef CHANGE_FIRST
#ifdef OFFSET_OF_TAIL
	record_change(tail);
#else
	record_change(head);
#endif
#endif
	taken_back = 1;
	do
	:: head == tail -> break
	:: head < tail -> break /* the kernel has no more room */
	:: head < tail ->
		kernel_send(ring_byte[head]);
		head++;
		may_die()
	od;
#ifdef RETURN_FIRST
	if
	:: head < tail -> n = kernel_sent; record_change(n)
	:: else -> skip
	fi;
	STORE(SENDER, HEAD, head);
	may_die()
#else
	STORE(SENDER, HEAD, head);
	may_die();
	if
	:: head < tail -> n = kernel_sent; returned = 1; record_change(n)
	:: else -> skip
	fi
#endif
}

inline take_back()
{
	CAS(SENDER, RESEND_WANTED, 1, 0, done);
	done = 0;
	LOAD(SENDER, TAIL, word);
	LOAD(SENDER, CHANGES_TAKEN, n);
	if
#ifdef PENDING_UNBOUNDED
	:: changes % 2 == 1 && (word & NEVER) ->
#else
	:: changes % 2 == 1 && (word & NEVER) && n == changes ->
#endif
		set_taken();
		if
		:: done -> take_back_taken()
		:: else -> skip
		fi
	:: else -> skip
	fi;
	atomic { done = 0; head = 0; n = 0; word = 0 }
}

active proctype sender()
{
	byte tail, changes; /* own words, not loaded */
	byte word, head, n;
	bit done;

	do
	:: accepted == BYTES -> break
	:: SEEN(SENDER, RESEND_WANTED) -> take_back()
	:: accepted < BYTES ->
		LOAD(SENDER, TAIL, word);
		LOAD(SENDER, CHANGES_TAKEN, n);
		if
		:: true -> /* it must, when it is revoked; or it overflows */
			if
			:: SEEN(SENDER, RESEND_WANTED) -> take_back()
			:: else -> skip
			fi;
			move_to_kernel();
			atomic { kernel_send(accepted); accepted++ }
		:: word < NEVER && !SEEN(SENDER, RESEND_WANTED) && (changes % 2 == 1 || n == changes) ->
			if
			:: changes % 2 == 0 -> KERNEL(SENDER); n = kernel_sent; record_change(n)
			:: else -> skip
			fi;
			d_step {
				FENCE(SENDER) ->
				if
				:: memory[TAIL] == word ->
					ring_byte[tail] = accepted;
					memory[TAIL] = word + 1;
					tail++;
					accepted++
				:: else -> skip
				fi
			}
		fi;
		atomic { word = 0; n = 0 };
		may_die()
	od;
	move_to_kernel();
dead:	KERNEL(SENDER);
	fin = 1
}

inline receive(value)
{
	assert(value == received);
	received++
}

inline ring_take()
{
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
}

inline pass_change()
{
	taken++;
	STORE(RECEIVER, CHANGES_TAKEN, taken)
}

/* Something has changed since the loads: there is no use in looking again before. */
#define NEWS (fin || memory[HEAD] != word || memory[TAIL] != tail || memory[CHANGE_COUNT] != changes)

/* The kernel has said the end, and nothing was published or changed before. */
inline believe_end()
{
	LOAD(RECEIVER, TAIL, limit);
	LOAD(RECEIVER, CHANGE_COUNT, n);
	if
	:: limit != tail || n != changes -> skip
	:: else ->
#ifndef NO_RECOVERY
		LOAD(RECEIVER, HEAD, word);
		head = OFFSET(word);
		tail = OFFSET(tail);
		if
		:: word >= TAKEN && changes % 2 == 0 ->
			LOAD(RECEIVER, CHANGE_OFFSET(changes - 1), n);
			n = kernel_read - n;
			leftover = 1
		:: word >= TAKEN && changes % 2 == 1 -> n = 0; leftover = 1 /* it died before it recorded the change */
#ifndef TAKEN_ALONE
		:: word < TAKEN && changes % 2 == 0 && head < tail -> n = 0; leftover = 1 /* after it had cleared TAKEN */
#endif
		:: else -> break
		fi;
		STORE(RECEIVER, HEAD, head + n)
#else
		break
#endif
	fi
}

active proctype receiver()
{
	byte received, asks;
	byte taken, head, word;
	byte tail, changes, limit, n;
	bit done, end, leftover;

	do
	:: SEEN(RECEIVER, TAIL) < NEVER -> OR(RECEIVER, TAIL, NEVER)
	:: asks < ASKS_MAX && SEEN(RECEIVER, TAIL) >= NEVER && SEEN(RECEIVER, RESEND_WANTED) == 0 ->
		asks++;
		CAS(RECEIVER, RESEND_WANTED, 0, 1, done)
	:: true ->
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
		:: leftover && head == OFFSET(tail) -> break
		:: leftover && head < OFFSET(tail) -> recovered = 1; ring_take()
		:: !leftover && taken % 2 == 1 ->
			if
			:: taken < changes -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit)
			:: else -> limit = OFFSET(tail)
			fi;
			if
			:: head < limit && word < TAKEN -> ring_take()
			:: head >= limit && taken < changes -> pass_change()
			:: (head >= limit && taken == changes) || (head < limit && word >= TAKEN) ->
				if
				:: fin && kernel_read == kernel_sent -> end = 1
				:: else -> NEWS
				fi
			fi
#ifdef UNREAD_AT_ONCE
		:: taken % 2 == 0 && taken == changes && word < TAKEN && head < OFFSET(SEEN(RECEIVER, TAIL)) ->
			CAS(RECEIVER, HEAD, word, head + 1, done);
			if
			:: done -> receive(ring_byte[head])
			:: else -> skip
			fi
#endif
		:: !leftover && taken % 2 == 0 && taken < changes ->
			LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit);
			if
			:: limit == kernel_read -> pass_change()
			:: limit != kernel_read ->
				d_step { kernel_read < kernel_sent -> receive(kernel_byte[kernel_read]); kernel_read++ }
			fi
		:: !leftover && taken % 2 == 0 && taken == changes ->
			limit = kernel_sent; /* SIOCINQ */
			LOAD(RECEIVER, CHANGE_COUNT, n);
			if
			:: n != changes -> skip
			:: n == changes && limit > kernel_read ->
				d_step { receive(kernel_byte[kernel_read]); kernel_read++ }
			:: n == changes && limit == kernel_read ->
				if
				:: fin && kernel_read == kernel_sent -> end = 1
				:: kernel_read < kernel_sent -> skip
				:: else -> NEWS || kernel_read < kernel_sent
				fi
			fi
		fi;
		if
		:: end -> believe_end()
		:: else -> skip
		fi;
		atomic { done = 0; end = 0; tail = 0; changes = 0; limit = 0; word = 0; head = 0; n = 0 }
	od;
	assert(received == accepted);
#ifdef REACH_RECOVERED
	WITNESS(taken_back && recovered && kernel_read > 0)
#else
	WITNESS(taken_back && returned && !died && !recovered && received == BYTES && kernel_read > 1)
#endif
}
