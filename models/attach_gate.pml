/* The gate and the attach of one direction: docs/local-transport.md, section 6.
 *
 * Mirrors: the gate that every plain call on a socket raises and lowers, setting ENGINE, and what comes with it (watch_mask,
 * set_sleep_mask and bell for those who sleep in epoll_wait, then clearing REVOKED).
 * Two threads send; of two that receive, one blocks in recv, one waits in epoll_wait and reads without blocking. Any of
 * them may try to attach its end before a call. A plain call may stay in the kernel as long as it likes. One change, from
 * the kernel to the ring; later ones are the matter of carrier_change.pml.
 * Proves: bytes are received in the order in which they were sent, and nobody sleeps for ever, in a plain kernel receive
 * or in epoll_wait, while there is a byte for him. (An engine receive is woken as sleep_wake.pml proves.)
 * Variants that must fail:
 *   ENGINE_FROM_ANY        the receiving end sets ENGINE though a plain receive is in the kernel
 *   SENDER_ENGINE_FROM_ANY the sending end sets ENGINE though a plain send is in the kernel
 *   GATE_NOT_ATOMIC        a call looks for ENGINE first and raises the count after it
 *   REVOKED_CLEARED_FIRST  REVOKED is cleared before ENGINE is set
 *   MARK_LATE              sleepers of epoll are marked after REVOKED is cleared
 *   NO_MARK                they are not marked: only who calls epoll_wait from now on is woken */

#define PROCESSES 4
#define WORDS 8
#include "tso.h"

#define SENDERS 2
#define BLOCKER 2 /* receiver in recv */
#define POLLER 3  /* receiver in epoll_wait */

#define RECEIVER_GATE 0
#define SENDER_GATE 1
#define TAIL 2
#define CHANGE_COUNT 3
#define CHANGE_OFFSET 4
#define READY 5
#define SET_SLEEP_MASK 6
#define WATCH_MASK 7

#define ENGINE 128
#define ALLOWED 128 /* REVOKED turned round, because memory begins as zeros */
#define OFFSET(word) ((word) & 127)

#define SENDS(s) (2 - (s))
#define BYTES 3
#define BLOCKER_SHARE 1
#define POLLER_SHARE (BYTES - BLOCKER_SHARE)

byte kernel_byte[BYTES], kernel_sent, kernel_read;
byte ring_byte[BYTES];
byte sequence; /* number of the next byte sent */

/* Of the sending process. */
bit sender_lock;
bit moved;

/* Of the receiving process. */
bit receiver_lock;
bit changes_taken;
byte head, received;
bit registered; /* the bell is a member of the kernel's epoll set */
bit bell;
byte finished;
bit plain_received, ring_received, polled; /* witnesses */

inline lock(which) { atomic { which == 0 -> which = 1 } }

/* True in `plain` when the call has raised the gate and must use the kernel only. */
inline enter(gate)
{
	do
	:: LOAD(me, gate, word);
		if
		:: word & ENGINE -> plain = 0; break
		:: else ->
#ifdef GATE_NOT_ATOMIC
			d_step { FENCE(me) -> memory[gate]++ };
			plain = 1; break
#else
			CAS(me, gate, word, word + 1, plain);
			if
			:: plain -> break
			:: else -> skip
			fi
#endif
		fi
	od;
	word = 0
}

inline leave(gate)
{
	d_step { FENCE(me) -> memory[gate]-- }
}

/* ENGINE by CAS from exactly 0. */
inline set_engine(gate, done)
{
	CAS(me, gate, 0, ENGINE, done)
}

inline set_engine_from_any(gate, done)
{
	d_step { FENCE(me) -> memory[gate] = memory[gate] | ENGINE; done = 1 }
}

inline attach_sender()
{
#ifdef SENDER_ENGINE_FROM_ANY
	set_engine_from_any(SENDER_GATE, done)
#else
	set_engine(SENDER_GATE, done)
#endif
}

inline mark_sleepers()
{
#ifdef NO_MARK
	skip
#else
	OR(me, SET_SLEEP_MASK, 1)
#endif
}

inline attach_receiver()
{
#ifdef REVOKED_CLEARED_FIRST
	OR(me, TAIL, ALLOWED);
#endif
#ifdef ENGINE_FROM_ANY
	set_engine_from_any(RECEIVER_GATE, done);
#else
	set_engine(RECEIVER_GATE, done);
#endif
	if
	:: done ->
		KERNEL(me);
		registered = 1;
		OR(me, WATCH_MASK, 1);
#ifndef MARK_LATE
		mark_sleepers();
#endif
		OR(me, TAIL, ALLOWED);
#ifdef MARK_LATE
		mark_sleepers();
#endif
	:: else -> skip
	fi
}

inline kernel_send()
{
	d_step { KERNEL(me) -> kernel_byte[kernel_sent] = sequence; kernel_sent++; sequence++ }
}

active [SENDERS] proctype sender()
{
	byte me = _pid - PROCESSES;
	byte sent, word;
	bit plain, done;

	do
	:: sent == SENDS(me) -> break
	:: else ->
		if
		:: SEEN(me, SENDER_GATE) < ENGINE -> attach_sender(); done = 0
		:: skip
		fi;
		enter(SENDER_GATE);
		if
		:: plain ->
			kernel_send();
			leave(SENDER_GATE)
		:: else ->
			lock(sender_lock);
			LOAD(me, TAIL, word);
			if
			:: !(word & ALLOWED) -> kernel_send()
			:: (word & ALLOWED) && !moved -> kernel_send() /* policy */
			:: (word & ALLOWED) ->
				if
				:: !moved ->
					moved = 1;
					STORE(me, CHANGE_OFFSET, kernel_sent);
					STORE(me, CHANGE_COUNT, 1)
				:: else -> skip
				fi;
				d_step { FENCE(me) -> ring_byte[OFFSET(word)] = sequence; sequence++; memory[TAIL]++ };
				if
				:: SEEN(me, WATCH_MASK) == 0 -> skip
				:: else ->
					OR(me, READY, 1);
					if
					:: SEEN(me, SET_SLEEP_MASK) == 0 -> skip
					:: else -> AND(me, SET_SLEEP_MASK, 0); bell = 1
					fi
				fi
			fi;
			word = 0;
			FENCE(me);
			sender_lock = 0
		fi;
		sent++
	od
}

/* One byte of the kernel's queue, if there is one. */
inline kernel_receive()
{
	d_step {
		KERNEL(me) ->
		if
		:: kernel_read < kernel_sent ->
			assert(kernel_byte[kernel_read] == received);
			kernel_read++;
			received++;
			got = 1
		:: else -> got = 0
		fi
	}
}

inline engine_receive()
{
	lock(receiver_lock);
	got = 0;
	if
	:: changes_taken == 0 ->
		d_step { KERNEL(me) -> word = (kernel_sent > kernel_read) };
		LOAD(me, CHANGE_COUNT, change);
		if
		:: change == 0 && word == 0 -> skip
		:: change == 0 && word == 1 -> kernel_receive()
		:: change == 1 ->
			if
			:: SEEN(me, CHANGE_OFFSET) == kernel_read -> changes_taken = 1
			:: else -> kernel_receive()
			fi
		fi
	:: else -> skip
	fi;
	if
	:: changes_taken == 1 && !got && head < OFFSET(SEEN(me, TAIL)) ->
		d_step {
			assert(ring_byte[head] == received);
			head++;
			received++;
			got = 1;
			ring_received = 1
		}
	:: else -> skip
	fi;
	word = 0;
	change = 0;
	receiver_lock = 0
}

active proctype blocker()
{
	byte me = BLOCKER;
	byte share, word;
	bit plain, done, got, change;

	do
	:: share == BLOCKER_SHARE -> break
	:: else ->
		if
		:: SEEN(me, RECEIVER_GATE) < ENGINE -> attach_receiver(); done = 0
		:: skip
		fi;
		enter(RECEIVER_GATE);
		if
		:: plain ->
			do /* a blocking recv of the kernel */
			:: kernel_receive();
				if
				:: got -> break
				:: else -> kernel_read < kernel_sent
				fi
			od;
			plain_received = 1;
			leave(RECEIVER_GATE)
		:: else ->
			do
			:: engine_receive();
				if
				:: got -> break
				:: else -> kernel_read < kernel_sent || head < OFFSET(memory[TAIL])
				fi
			od
		fi;
		atomic { got = 0; share++ }
	od;
	finished++;
	WITNESS(finished == 2 && plain_received && ring_received && polled)
}

active proctype poller()
{
	byte me = POLLER;
	byte share, word;
	bit plain, done, got, change;

	do
	:: share == POLLER_SHARE -> break
	:: else ->
		if
		:: SEEN(me, RECEIVER_GATE) < ENGINE -> attach_receiver(); done = 0
		:: skip
		fi;
		AND(me, READY, 0);
		enter(RECEIVER_GATE);
		if
		:: plain ->
			kernel_receive();
			leave(RECEIVER_GATE)
		:: else -> engine_receive()
		fi;
		if
		:: got -> d_step { got = 0; share++ }
		:: else ->
			if
			:: plain -> skip /* the set has no attached socket: the kernel's epoll_wait and nothing else */
			:: else ->
				OR(me, SET_SLEEP_MASK, 1);
				LOAD(me, READY, word)
			fi;
			if
			:: word -> skip
			:: else ->
				kernel_read < kernel_sent || (registered && bell); /* the kernel's epoll_wait */
				if
				:: bell -> polled = 1
				:: else -> skip
				fi;
				bell = 0
			fi
		fi;
		word = 0
	od;
	finished++;
	WITNESS(finished == 2 && plain_received && ring_received && polled)
}
