/* `head` by a plain store, and the reader's lock given back by one: docs/local-transport.md, sections 2, 4 and 7.
 *
 * Mirrors: ring_take; local_request_resend, revoke_for_good; local_take_back with take_back, untake; lock_acquire,
 * lock_release, local_lock_reader.
 * Two receivers of one family share a direction, whose bytes lie in the ring. The first may die between any two steps; the
 * second then takes the lock over and raises the generation in `head`. A third member of the family revokes for good, without
 * the lock, and asks for what is unread. Who takes from the ring moves `head` by a plain store, unless NEVER is in the `tail`
 * that it has loaded under the lock; then the sender may set TAKEN at any time, and it takes a compare-and-swap.
 * The sender sends by the ring until it is asked, takes back all, a part or nothing, and sends the rest by the kernel.
 * Why the plain store is safe: TAKEN is set only by a sender that has seen resend_wanted; that is set under the reader's lock
 * and only when NEVER is in `tail`; so every take by a plain store is over (its store is before the release of the lock, and
 * a processor shows stores in order), and every later take sees NEVER.
 * Proves: every byte that send() accepted is received once and in order.
 * Variants that must fail:
 *   RESEND_UNLOCKED  resend_wanted is set without the reader's lock
 *   NEVER_LATE       resend_wanted is set, under the lock, before NEVER is in `tail`
 *   TAIL_UNLOCKED    what decides between store and compare-and-swap was loaded before the lock was ours
 *   ALWAYS_PLAIN     `head` is moved by a store also when NEVER is in `tail`
 *   HEAD_LATE        the lock is given back before `head` is moved
 *   FROM_LIVING      the lock is taken over from an owner that lives: the generation refuses no store
 *   GENERATION_PLAIN who takes over raises the generation by a load and a store: a TAKEN is lost
 */

#define PROCESSES 4
#define WORDS 9
#define ASKER 2
#define SENDER 3
#include "tso.h"

#define TAIL 0
#define HEAD 1
#define RESEND_WANTED 2
#define LOCK 3 /* 0: free; else receiver + 1 */
#define CHANGE_COUNT 4 /* even: the ring, odd: the kernel. In C it is the other way round: the first change is over */
#define CHANGES_TAKEN 5
#define CHANGE_OFFSET(i) (5 + (i)) /* at most three: to the kernel, back to the ring, to the kernel */

#define NEVER 64
#define TAKEN 128
#define GENERATION 16
#define OFFSET(word) ((word) & 15)

#define BYTES 3

#ifdef FROM_LIVING
#define GONE(owner) ((owner) == 1 && me != 0)
#else
#define GONE(owner) ((owner) == 1 && dead)
#endif

byte kernel_byte[BYTES], kernel_sent, kernel_read;
byte ring_byte[BYTES];
byte accepted, received;
bit dead;
bit taken_over, taken_back, returned, stored; /* witnesses */

inline may_die()
{
	if
	:: me == 0 -> goto death
	:: skip
	fi
}

inline raise_generation()
{
#ifdef GENERATION_PLAIN
	LOAD(me, HEAD, word);
	STORE(me, HEAD, word + GENERATION);
	FENCE(me)
#else
	do
	:: LOAD(me, HEAD, word);
		CAS(me, HEAD, word, word + GENERATION, done);
		if
		:: done -> break
		:: else -> skip
		fi
	od
#endif
}

/* lock_acquire: from the free, or from the dead first receiver. */
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
			:: done -> taken_over = 1; raise_generation(); break
			:: else -> skip
			fi
		:: word != 0 && !GONE(word) -> memory[LOCK] != word || GONE(word) /* sched_yield */
		fi
	od;
	word = 0;
	done = 0
}

inline release()
{
	STORE(me, LOCK, 0)
}

inline receive(value)
{
	assert(value == received);
	received++
}

inline ring_take()
{
	may_die();
#ifdef HEAD_LATE
	release();
	released = 1;
#endif
#ifdef ALWAYS_PLAIN
	if
	:: true ->
#else
	if
	:: tail & NEVER ->
		d_step {
			FENCE(me) ->
			if
			:: memory[HEAD] == word -> memory[HEAD] = word + 1; receive(ring_byte[OFFSET(word)])
			:: else -> skip /* taken back: it comes by the kernel */
			fi
		}
	:: else ->
#endif
		atomic { STORE(me, HEAD, word + 1); receive(ring_byte[OFFSET(word)]); stored = 1 }
	fi
}

/* One step of a receiver that holds the lock. */
inline recv_step()
{
	atomic { LOAD(me, CHANGES_TAKEN, taken); LOAD(me, HEAD, word) };
#ifndef TAIL_UNLOCKED
	LOAD(me, TAIL, tail);
#endif
	atomic {
		LOAD(me, CHANGE_COUNT, changes);
		if
		:: taken < changes -> LOAD(me, CHANGE_OFFSET(taken + 1), limit)
		:: taken == changes && taken % 2 == 0 -> limit = OFFSET(tail)
		:: taken == changes && taken % 2 == 1 -> limit = BYTES
		fi
	};
	if
	:: taken % 2 == 0 && OFFSET(word) < limit && word < TAKEN -> ring_take()
	:: taken % 2 == 0 && OFFSET(word) >= limit && taken < changes -> STORE(me, CHANGES_TAKEN, taken + 1)
	:: taken % 2 == 0 && (word >= TAKEN || OFFSET(word) >= limit && taken == changes) -> idle = 1
	:: taken % 2 == 1 && kernel_read < limit && kernel_read < kernel_sent && memory[CHANGE_COUNT] == changes ->
		d_step { receive(kernel_byte[kernel_read]); kernel_read++ }
	:: taken % 2 == 1 && kernel_read < limit && kernel_read == kernel_sent -> idle = 1
	:: taken % 2 == 1 && kernel_read < limit && memory[CHANGE_COUNT] != changes -> skip
	:: taken % 2 == 1 && kernel_read >= limit -> STORE(me, CHANGES_TAKEN, taken + 1)
	fi
}

active [2] proctype receiver()
{
	byte me = _pid - PROCESSES;
	byte word, tail, taken, changes, limit;
	bit done, idle;
#ifdef HEAD_LATE
	bit released;
#endif

	do
	:: received == BYTES -> break
	:: received < BYTES ->
#ifdef TAIL_UNLOCKED
		LOAD(me, TAIL, tail);
#endif
		acquire();
		recv_step();
		may_die();
#ifdef HEAD_LATE
		if
		:: released -> released = 0
		:: else -> release()
		fi;
#else
		release();
#endif
		if
		:: idle ->
			received == BYTES || memory[HEAD] != word || memory[TAIL] != tail || memory[CHANGE_COUNT] != changes ||
				memory[CHANGES_TAKEN] != taken || kernel_read < kernel_sent
		:: else -> skip
		fi;
		atomic { word = 0; tail = 0; taken = 0; changes = 0; limit = 0; idle = 0 }
	od;
	goto over;
death:	atomic { FENCE(me) -> dead = 1 };
	atomic { word = 0; tail = 0; taken = 0; changes = 0; limit = 0; idle = 0 };
over:	skip
}

/* sock_into_kernel: revoke_for_good, and local_request_resend. */
active proctype asker()
{
	byte me = ASKER, word;
	bit done;

#ifndef NEVER_LATE
	OR(ASKER, TAIL, NEVER);
#endif
#ifndef RESEND_UNLOCKED
	acquire();
#endif
	STORE(ASKER, RESEND_WANTED, 1); /* a compare-and-swap with 0 in C, because of the 2 */
	FENCE(ASKER);
#ifndef RESEND_UNLOCKED
	release();
#endif
#ifdef NEVER_LATE
	OR(ASKER, TAIL, NEVER);
#endif
	skip
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

inline take_back()
{
	STORE(SENDER, RESEND_WANTED, 0); /* a compare-and-swap in C; the asker asks once here */
	LOAD(SENDER, TAIL, word);
	if
	:: (word & NEVER) && changes % 2 == 0 && SEEN(SENDER, CHANGES_TAKEN) == changes ->
		do
		:: LOAD(SENDER, HEAD, head);
			if
			:: OFFSET(head) == OFFSET(word) -> break
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
			n = OFFSET(head);
			record_change(n);
			taken_back = 1;
			do
			:: n == OFFSET(word) -> break
			:: n < OFFSET(word) -> break /* the kernel has no more room */
			:: n < OFFSET(word) -> kernel_send(ring_byte[n]); n++
			od;
			STORE(SENDER, HEAD, head - OFFSET(head) + n); /* without TAKEN; a generation that was raised meanwhile goes */
			if
			:: n < OFFSET(word) -> n = kernel_sent; record_change(n); returned = 1
			:: else -> skip
			fi
		:: else -> skip
		fi
	:: else -> skip
	fi
}

active proctype sender()
{
	byte word, head, n, changes;
	bit done;

	/* two bytes are there when it begins */
	d_step { ring_byte[1] = 1; memory[TAIL] = memory[TAIL] + 2; accepted = 2 };
end:	do
	:: SEEN(SENDER, RESEND_WANTED) -> take_back(); atomic { word = 0; head = 0; n = 0; done = 0 }
	:: accepted < BYTES ->
		LOAD(SENDER, TAIL, word);
		if
		:: (word & NEVER) || SEEN(SENDER, RESEND_WANTED) ->
			if
			:: SEEN(SENDER, RESEND_WANTED) -> take_back()
			:: else -> skip
			fi;
			if
			:: changes % 2 == 0 -> LOAD(SENDER, TAIL, word); n = OFFSET(word); record_change(n)
			:: else -> skip
			fi;
			atomic { kernel_send(accepted); accepted++ }
		:: else ->
			d_step {
				FENCE(SENDER) ->
				if
				:: memory[TAIL] == word -> ring_byte[OFFSET(word)] = accepted; memory[TAIL] = word + 1; accepted++
				:: else -> skip
				fi
			}
		fi;
		atomic { word = 0; head = 0; n = 0; done = 0 }
	:: received == BYTES -> break
	od;
	WITNESS(stored && taken_over && taken_back && returned && kernel_read > 0)
}
