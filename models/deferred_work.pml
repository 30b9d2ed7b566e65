/* Work that is left for the holder of a stack's lock: docs/engine.md, section 3.
 *
 * Mirrors: each process has a socket. It makes work there (a cell in the ring), takes the lock if it is free, and does it; else
 * it puts the socket on the list, unless it stands there, and takes the lock if it is free by then. The holder empties the list,
 * lets go, and looks at the list once more.
 * Proves: no work is left undone when nobody is under way, whoever comes at whichever moment.
 * Variants that must fail:
 *   LIST_PLAIN      the socket is put on the list by a plain load and store
 *   NO_HOLDER_FENCE the holder looks at the list again before others see that it has let go
 *   NO_SECOND_LOOK  the holder does not look again
 *   MARK_PLAIN      the mark "stands on the list" is taken away by a plain store
 *   MARK_LATE       it is taken away after the work was done
 *   WORK_AFTER_MARK the work is made after the mark was seen */

#ifdef LIST_PLAIN
#define OWNERS 3 /* two that put on the list while a third has the lock */
#define PIECES 1
#else
#define OWNERS 2
#define PIECES 2
#endif
#define PROCESSES OWNERS
#define WORDS (2 + 3 * OWNERS)
#include "tso.h"

#define LOCK 0
#define LIST 1       /* a bit for each socket */
#define MARK(q) (2 + (q))
#define WORK(q) (2 + OWNERS + (q)) /* pieces made so far */
#define DONE(q) (2 + 2 * OWNERS + (q)) /* pieces seen by a holder */

byte finished;
bit left_to_another; /* somebody found the lock taken */

/* What the holder does for each socket of `mask`. */
inline serve(q)
{
	if
	:: mask & (1 << q) ->
#ifndef MARK_LATE
#ifdef MARK_PLAIN
		STORE(me, MARK(q), 0);
#else
		EXCHANGE(me, MARK(q), 0, old);
#endif
#endif
		LOAD(me, WORK(q), seen);
		STORE(me, DONE(q), seen);
#ifdef MARK_LATE
		EXCHANGE(me, MARK(q), 0, old)
#endif
	:: else -> skip
	fi
}

/* Who has the lock before it has told anybody of its work does it itself. */
inline serve_own()
{
	LOAD(me, WORK(me), seen);
	STORE(me, DONE(me), seen)
}

inline put_on_list()
{
#ifdef LIST_PLAIN
	LOAD(me, LIST, mask);
	STORE(me, LIST, mask | (1 << me))
#else
	OR(me, LIST, 1 << me)
#endif
}

inline empty_list()
{
	do
	:: true ->
		EXCHANGE(me, LIST, 0, mask);
		if
		:: mask == 0 -> break
		:: else ->
			serve(0);
			serve(1)
#if OWNERS == 3
			;
			serve(2)
#endif
		fi
	od
}

active [OWNERS] proctype owner()
{
	byte me = _pid - PROCESSES;
	byte made, mask, old, seen;
	bit taken;

	do
	:: made == PIECES -> break
	:: else ->
		made++;
#ifndef WORK_AFTER_MARK
		STORE(me, WORK(me), made);
#endif
		CAS(me, LOCK, 0, 1, taken);
		if
		:: taken ->
#ifdef WORK_AFTER_MARK
			STORE(me, WORK(me), made);
#endif
			serve_own()
		:: else ->
			EXCHANGE(me, MARK(me), 1, old);
#ifdef WORK_AFTER_MARK
			STORE(me, WORK(me), made);
#endif
			if
			:: old == 0 -> put_on_list()
			:: else -> skip
			fi;
			CAS(me, LOCK, 0, 1, taken)
		fi;
		do
		:: !taken -> left_to_another = 1; break
		:: else ->
			empty_list();
			STORE(me, LOCK, 0);
#ifdef NO_SECOND_LOOK
			break
#else
#ifndef NO_HOLDER_FENCE
			FENCE(me);
#endif
			LOAD(me, LIST, mask);
			if
			:: mask == 0 -> break
			:: else -> skip
			fi;
			CAS(me, LOCK, 0, 1, taken)
#endif
		od
	od;
	finished++
}

active proctype judge()
{
	finished == OWNERS && FENCE(0) && FENCE(1);
	assert(memory[DONE(0)] == PIECES && memory[DONE(1)] == PIECES);
#if OWNERS == 3
	FENCE(2);
	assert(memory[DONE(2)] == PIECES);
#endif
	WITNESS(left_to_another)
}
