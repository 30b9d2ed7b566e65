/* Sleep and wake of blocking receivers: docs/local-transport.md, sections 3.4 and 5.
 *
 * Mirrors: publish (CAS of `tail`), then sleep_mask; and the blocking receiver with a leased bell.
 * Proves: no receiver sleeps for ever while bytes are unread. Two receivers (threads or processes) sleep on one direction
 * with a bell each; each wants its share, so a lost wake-up is an invalid end state.
 * Variants that must fail:
 *   NO_SENDER_FENCE    `tail` is published by a plain store
 *   NO_RECEIVER_FENCE  the bit is set in `sleep_mask` by a plain load and store
 *   NO_RECHECK         the receiver does not look at the ring again after it has set its bit
 *   DRAIN_LATE         the bell is emptied after that second look
 *   MASK_NOT_EXCHANGED the sender clears `sleep_mask` by a plain store, not by an exchange
 *   MASK_BEFORE_TAIL   the sender looks at `sleep_mask` before it publishes */

#define RECEIVERS 2
#define PROCESSES 3
#define WORDS 3
#define SENDER 2
#include "tso.h"

#define TAIL 0
#define HEAD 1
#define SLEEP_MASK 2

#define SHARE 2               /* bytes that each receiver wants */
#define BYTES (RECEIVERS * SHARE)

bit bell[RECEIVERS]; /* eventfd: stays readable until it is emptied */
byte finished;       /* receivers that have their share */
bit slept;           /* a receiver was woken by its bell */

/* Each receiver r has bit 1 << r and bell r. */
active [RECEIVERS] proctype receiver()
{
	byte me = _pid - PROCESSES; /* number of its buffer, bit and bell */
	byte taken, head, tail, mask;
	bit done;

	do
	:: taken == SHARE -> break
	:: else ->
		LOAD(me, HEAD, head);
		LOAD(me, TAIL, tail);
		if
		:: head < tail ->
			CAS(me, HEAD, head, head + 1, done);
			taken = taken + done
		:: else ->
#ifdef NO_RECEIVER_FENCE
			LOAD(me, SLEEP_MASK, mask);
			STORE(me, SLEEP_MASK, mask | (1 << me));
#else
			OR(me, SLEEP_MASK, 1 << me);
#endif
			LOAD(me, HEAD, head);
			LOAD(me, TAIL, tail);
			if
#ifndef NO_RECHECK
			:: head < tail -> skip
			:: else ->
#else
			:: true ->
#endif
#ifdef DRAIN_LATE
				bell[me] = 0;
#endif
				bell[me]; /* ppoll */
#ifndef DRAIN_LATE
				bell[me] = 0;
#endif
				slept = 1
			fi;
			AND(me, SLEEP_MASK, 255 - (1 << me))
		fi
	od;
	finished++;
	WITNESS(finished == RECEIVERS && slept)
}

active proctype sender()
{
	byte sent, mask, old;
	bit done;

	do
	:: sent == BYTES -> break
	:: else ->
#ifdef MASK_BEFORE_TAIL
		LOAD(SENDER, SLEEP_MASK, mask);
#endif
		sent++;
#ifdef NO_SENDER_FENCE
		STORE(SENDER, TAIL, sent);
#else
		CAS(SENDER, TAIL, sent - 1, sent, done);
		assert(done);
#endif
#ifndef MASK_BEFORE_TAIL
		LOAD(SENDER, SLEEP_MASK, mask);
#endif
		if
		:: mask == 0 -> skip
		:: else ->
#ifdef MASK_NOT_EXCHANGED
			STORE(SENDER, SLEEP_MASK, 0);
#else
			EXCHANGE(SENDER, SLEEP_MASK, 0, mask);
#endif
			KERNEL(SENDER);
			d_step { bell[0] = bell[0] | (mask & 1); bell[1] = bell[1] | ((mask >> 1) & 1) }
		fi
	od
}
