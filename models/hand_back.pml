/* A receiver that puts unread bytes into the kernel itself: docs/local-transport.md, section 7 (hand back).
 *
 * Mirrors: csrc/local/handback.c: local_sender_enter, local_sender_leave; claim, unclaim, local_hand_back with hand_back,
 * append, insert, settle; sock_into_kernel, local_rx_is_kernel; of the sender local_move_to_kernel, kernel_step, local_take_back.
 * The sender chooses the carrier for every byte, until it is revoked for good; it takes back when it is asked, all, a part or
 * nothing. It may die between any two steps. The receiver reads, revokes for good, and tries to get what is unread into the
 * kernel, by hand back or by asking, in any order, and may read on meanwhile (another thread of it). Once nothing is in the
 * ring, a program that knows nothing of rings reads from the kernel. What the kernel takes in one go is open.
 * The claim is as in Peterson's lock: the sender sets sender_busy, fences, and stays out while resend_wanted has a claim (2); the receiver
 * sets resend_wanted to 2 by a locked instruction and waits until sender_busy is clear. Then it writes change_count and
 * change_offset, and sends, in the sender's place.
 * Proves: every byte that send() accepted is received once and in order, over both programs. If the sender dies, bytes may stay
 * behind, but what is received is in order.
 * Variants that must fail:
 *   NO_SENDER_FENCE   sender_busy is set by a plain store, without a fence
 *   NO_CLAIM_FENCE    resend_wanted is set to 2 by a plain store
 *   NO_WAIT           the receiver does not wait for sender_busy
 *   SEND_OUTSIDE      a kernel send of the sender is not bracketed by sender_busy
 *   MOVE_OUTSIDE      a move to the kernel is not
 *   TAKE_BACK_OUTSIDE a take-back is not
 *   COUNT_BEFORE      the sender moves to the kernel by the change_count that it saw before it was let in
 *   NOT_REVOKED       the receiver hands back before it has revoked for good
 *   BEFORE_BY_TURN    what the kernel holds before the ring's bytes is reckoned by the change after changes_taken, not by the
 *                     last move to the ring: wrong after a take-back in part
 *   TURN_LEFT         after an append in part changes_taken stays as it is
 *   UNCLAIM_FIRST     the claim ends before the words are written */

#define PROCESSES 2
#define WORDS 10
#define SENDER 0
#define RECEIVER 1
#include "tso.h"

#define TAIL 0
#define CHANGE_COUNT 1
#define HEAD 2
#define RESEND_WANTED 3
#define SENDER_BUSY 4
#define CHANGES_TAKEN 5
#define SLOTS 4 /* 8 in C */
#define CHANGE_OFFSET(i) (6 + ((i) % SLOTS))
#define NEVER 64
#define TAKEN 128
#define OFFSET(word) ((word) & 63)
#define CLAIMED 2

#ifndef BYTES
#define BYTES 3
#endif
#define TRIES_MAX 2 /* hand backs and requests together */

byte kernel_byte[2 * BYTES], kernel_sent, kernel_read;
byte ring_byte[BYTES];
byte accepted;
bit died, silent;
bit taken_back, appended, inserted, inserted_after; /* witnesses */

inline may_die()
{
	if
	:: died = 1; goto dead
	:: skip
	fi
}

/* -- the sender -- */

inline sender_enter()
{
	do
	:: STORE(SENDER, SENDER_BUSY, 1);
#ifndef NO_SENDER_FENCE
		FENCE(SENDER);
#endif
		if
		:: SEEN(SENDER, RESEND_WANTED) != CLAIMED -> break
		:: else ->
			STORE(SENDER, SENDER_BUSY, 0);
			memory[RESEND_WANTED] != CLAIMED /* wait_a_little */
		fi
	od;
	may_die()
}

inline sender_leave()
{
	STORE(SENDER, SENDER_BUSY, 0)
}

inline record_change(offset)
{
	STORE(SENDER, CHANGE_OFFSET(changes + 1), offset);
	STORE(SENDER, CHANGE_COUNT, changes + 1);
	changes++
}

inline kernel_send(value)
{
	d_step { KERNEL(SENDER) -> kernel_byte[kernel_sent] = value; kernel_sent++ }
}

inline move_to_kernel()
{
	LOAD(SENDER, CHANGE_COUNT, changes);
	if
	:: changes % 2 == 1 ->
#ifndef MOVE_OUTSIDE
		sender_enter();
#endif
#ifndef COUNT_BEFORE
		LOAD(SENDER, CHANGE_COUNT, changes);
#endif
		if
		:: changes % 2 == 1 -> LOAD(SENDER, TAIL, word); record_change(OFFSET(word))
		:: else -> skip
		fi
#ifndef MOVE_OUTSIDE
		; sender_leave()
#endif
	:: else -> skip
	fi
}

inline kernel_step()
{
#ifndef SEND_OUTSIDE
	sender_enter();
#endif
	atomic { kernel_send(accepted); accepted++ };
	may_die();
#ifndef SEND_OUTSIDE
	sender_leave()
#endif
}

inline take_back()
{
#ifndef TAKE_BACK_OUTSIDE
	sender_enter();
#endif
	CAS(SENDER, RESEND_WANTED, 1, 0, done);
	done = 0;
	LOAD(SENDER, TAIL, word);
	LOAD(SENDER, CHANGE_COUNT, changes);
	LOAD(SENDER, CHANGES_TAKEN, n);
	if
	:: changes % 2 == 1 && (word & NEVER) && n == changes ->
		do
		:: LOAD(SENDER, HEAD, head);
			if
			:: head == OFFSET(word) -> break
			:: else ->
				CAS(SENDER, HEAD, head, head | TAKEN, done);
				if
				:: done -> break
				:: else -> skip
				fi
			fi
		od;
		if
		:: done ->
			may_die();
			record_change(head);
			do
			:: head == OFFSET(word) -> break
			:: head < OFFSET(word) -> break /* the kernel has no more room */
			:: head < OFFSET(word) -> kernel_send(ring_byte[head]); head++; taken_back = 1
			od;
			may_die();
			STORE(SENDER, HEAD, head);
			if
			:: head < OFFSET(word) -> n = kernel_sent; record_change(n)
			:: else -> skip
			fi
		:: else -> skip
		fi
	:: else -> skip
	fi;
#ifndef TAKE_BACK_OUTSIDE
	sender_leave();
#endif
	atomic { done = 0; head = 0; n = 0; word = 0; changes = 0 }
}

active proctype sender()
{
	byte word, head, n, changes;
	bit done;

end:	do
	:: accepted < BYTES ->
		LOAD(SENDER, TAIL, word);
		LOAD(SENDER, CHANGE_COUNT, changes);
		LOAD(SENDER, CHANGES_TAKEN, n);
		if
		:: true -> /* it must, when it is revoked; or it overflows */
			if
			:: SEEN(SENDER, RESEND_WANTED) -> take_back()
			:: else -> skip
			fi;
			move_to_kernel();
			kernel_step()
		:: word < NEVER && !SEEN(SENDER, RESEND_WANTED) && (changes % 2 == 1 || n == changes) ->
			if
			:: changes % 2 == 0 -> KERNEL(SENDER); n = kernel_sent; record_change(n) /* not bracketed */
			:: else -> skip
			fi;
			d_step {
				FENCE(SENDER) ->
				if
				:: memory[TAIL] == word -> ring_byte[word] = accepted; memory[TAIL] = word + 1; accepted++
				:: else -> skip
				fi
			}
		fi;
		atomic { word = 0; head = 0; n = 0; changes = 0 };
		may_die()
	:: SEEN(SENDER, RESEND_WANTED) -> take_back() /* local_service */
	od;
dead:	FENCE(SENDER);
	silent = 1
}

/* -- the receiver -- */

inline receive(value)
{
	assert(value == received);
	received++
}

inline recv_step()
{
	LOAD(RECEIVER, HEAD, word);
	LOAD(RECEIVER, TAIL, tail);
	LOAD(RECEIVER, CHANGE_COUNT, changes);
	head = OFFSET(word);
	if
	:: taken < changes -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit)
	:: taken == changes && taken % 2 == 1 -> limit = OFFSET(tail)
	:: taken == changes && taken % 2 == 0 -> limit = kernel_sent; LOAD(RECEIVER, CHANGE_COUNT, n)
	fi;
	if
	:: taken % 2 == 1 && head < limit && word < TAKEN ->
		CAS(RECEIVER, HEAD, word, head + 1, done);
		if
		:: done -> receive(ring_byte[head])
		:: else -> skip
		fi
	:: taken % 2 == 0 && kernel_read < limit && kernel_read < kernel_sent && (taken < changes || n == changes) ->
		d_step { receive(kernel_byte[kernel_read]); kernel_read++ }
	:: taken < changes && (taken % 2 == 1 && head >= limit || taken % 2 == 0 && kernel_read >= limit) ->
		taken++;
		STORE(RECEIVER, CHANGES_TAKEN, taken)
	:: else -> skip
	fi;
	atomic { word = 0; head = 0; tail = 0; changes = 0; limit = 0; n = 0; done = 0 }
}

/* The sender is on the ring: what is unread goes behind all that the kernel has. */
inline append()
{
	limit = head;
	do
	:: limit == tail -> done = 1; break
	:: limit < tail && limit > head -> break /* a part */
	:: limit < tail -> d_step { KERNEL(RECEIVER) -> kernel_byte[kernel_sent] = ring_byte[limit]; kernel_sent++; limit++ }
	:: limit < tail && limit == head -> break /* nothing */
	od;
#ifdef UNCLAIM_FIRST
	STORE(RECEIVER, RESEND_WANTED, 0);
#endif
	if
	:: limit > head ->
		appended = 1;
		n = kernel_sent;
		STORE(RECEIVER, CHANGE_OFFSET(changes + 1), head);
		STORE(RECEIVER, CHANGE_OFFSET(changes + 2), n);
		STORE(RECEIVER, HEAD, limit);
		STORE(RECEIVER, CHANGE_COUNT, changes + 2);
#ifndef TURN_LEFT
		taken = changes + 1;
		STORE(RECEIVER, CHANGES_TAKEN, taken);
#endif
		changes = changes + 2
	:: else -> skip
	fi
}

/* The sender has gone on in the kernel: its bytes are taken out, and the ring's put before those that follow. */
inline insert()
{
#ifdef BEFORE_BY_TURN
	if
	:: taken % 2 == 0 -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit)
	:: else -> limit = kernel_read
	fi;
#else
	LOAD(RECEIVER, CHANGE_OFFSET(changes - 1), limit);
#endif
	d_step { KERNEL(RECEIVER) -> n = kernel_sent; before = kernel_read; kernel_read = kernel_sent };
	assert(before <= limit && limit <= n);
	inserted = 1;
	do
	:: before < limit -> d_step { kernel_byte[kernel_sent] = kernel_byte[before]; kernel_sent++; before++ }
	:: before >= limit && head < tail -> d_step { kernel_byte[kernel_sent] = ring_byte[head]; kernel_sent++; head++ }
	:: before >= limit && head == tail && before < n ->
		d_step { kernel_byte[kernel_sent] = kernel_byte[before]; kernel_sent++; before++; inserted_after = 1 }
	:: before >= limit && head == tail && before == n -> break
	od;
	before = 0;
	done = 1
}

inline settle()
{
	changes = changes + changes % 2;
	STORE(RECEIVER, CHANGE_OFFSET(changes), tail);
	STORE(RECEIVER, HEAD, tail);
	STORE(RECEIVER, CHANGE_COUNT, changes);
	taken = changes;
	STORE(RECEIVER, CHANGES_TAKEN, taken)
}

inline hand_back()
{
	LOAD(RECEIVER, CHANGE_COUNT, changes);
	LOAD(RECEIVER, HEAD, word);
	LOAD(RECEIVER, TAIL, tail);
	tail = OFFSET(tail);
	head = OFFSET(word);
	if
	:: word >= TAKEN -> skip
	:: word < TAKEN && head == tail -> done = 1
	:: word < TAKEN && changes % 2 == 1 && head < tail -> append()
	:: word < TAKEN && changes % 2 == 0 && head < tail -> insert()
	:: word < TAKEN && changes % 2 == 0 && head < tail -> skip /* it would not fit */
	fi;
	if
	:: done -> settle()
	:: else -> skip
	fi
}

inline local_hand_back()
{
#ifdef NO_CLAIM_FENCE
	STORE(RECEIVER, RESEND_WANTED, CLAIMED);
#else
	EXCHANGE(RECEIVER, RESEND_WANTED, CLAIMED, word);
#endif
	if
#ifdef NO_WAIT
	:: true -> hand_back()
#else
	:: SEEN(RECEIVER, SENDER_BUSY) == 0 -> hand_back()
	:: died || silent || SEEN(RECEIVER, SENDER_BUSY) -> skip /* it waits no longer */
#endif
	fi;
	STORE(RECEIVER, RESEND_WANTED, 0);
	atomic { word = 0; head = 0; tail = 0; changes = 0; limit = 0; n = 0; done = 0 }
}

active proctype receiver()
{
	byte received, tries;
	byte taken; /* changes_taken: nobody else writes it */
	byte head, word, tail, changes, limit, n, before;
	bit done;

	do
	:: received == BYTES -> goto over
	:: silent -> goto over
	:: received < BYTES -> atomic { recv_step() } /* in one step: what can come between is in take_back.pml */
	:: SEEN(RECEIVER, TAIL) < NEVER -> OR(RECEIVER, TAIL, NEVER)
#ifdef NOT_REVOKED
	:: tries < TRIES_MAX -> tries++; local_hand_back()
#else
	:: tries < TRIES_MAX && SEEN(RECEIVER, TAIL) >= NEVER -> tries++; local_hand_back()
#endif
	:: tries < TRIES_MAX && SEEN(RECEIVER, TAIL) >= NEVER && SEEN(RECEIVER, RESEND_WANTED) == 0 ->
		CAS(RECEIVER, RESEND_WANTED, 0, 1, done);
		d_step { done = 0; tries++ }
	:: SEEN(RECEIVER, TAIL) >= NEVER && SEEN(RECEIVER, HEAD) == OFFSET(SEEN(RECEIVER, TAIL)) -> break
	od;
	/* a program that knows nothing of rings */
	do
	:: received == BYTES || (silent && kernel_read == kernel_sent) -> break
	:: kernel_read < kernel_sent -> d_step { receive(kernel_byte[kernel_read]); kernel_read++ }
	od;
	assert(received == accepted);
#ifdef REACH_APPENDED
	WITNESS(appended && received == BYTES && kernel_read == BYTES)
#else
	WITNESS(taken_back && inserted && inserted_after && received == BYTES)
#endif
over:	skip
}
