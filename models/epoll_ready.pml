/* Ready bitmap and set_sleep_mask under epoll: docs/local-transport.md, sections 2, 3.4 and 5.
 *
 * Mirrors: what a sender does after it has published to a watched direction, and epoll_wait of the receiving end.
 * Two channels with a sender each share one word of the ready bitmap and one set. The program is level-triggered and
 * reads one byte an event, so a channel stays in the set's own list (`listed`) until it is found empty.
 * Proves: no epoll_wait sleeps for ever while a watched channel has unread bytes: the last thread stays until every byte
 * was read, so a lost wake-up is an invalid end state.
 * -DGROUPS: the word is one of those for which a bit of ready_groups stands, and is looked at only where that bit is set.
 * -DWAITERS=2: two threads wait on the same set (a lock of the set guards `listed` and `sleepers`). The first may leave
 * with an event, or because its time is over, and never call again, while the other sleeps.
 * Variants that must fail:
 *   NO_PUBLISH_FENCE   `tail` is published by a plain store
 *   READY_NOT_ATOMIC   the ready bit is set by a plain load and store
 *   READY_BEFORE_TAIL  the ready bit is looked at before the bytes are published
 *   NO_SLEEP_FENCE     set_sleep_mask is set by a plain store
 *   NO_RECHECK         the bitmap is not looked at again after that
 *   NO_WATCH_FENCE     watch_mask is set by a plain store when the channel is added to the set
 *   TAKE_AFTER_LOOK    the word of the bitmap is cleared after the channels were looked at, not exchanged before
 *   DRAIN_LATE         the bell is emptied after the second look
 * With GROUPS also:
 *   GROUP_FIRST        the group's bit is set before the word's
 *   WORDS_FIRST        the words are taken before the group's bit
 * With WAITERS=2 also:
 *   CLEAR_ALONE        a thread that wakes clears set_sleep_mask though another still sleeps
 *   NO_PASS_ON_LOOK    a thread that does not wait empties the bell and does not ring it for who sleeps
 *   NO_PASS_ON         a thread that leaves with an event does not wake the next one for what is left
 * A thread that has emptied the bell must not leave before it has looked (a signal, say): in the model it cannot. */

#ifndef WAITERS
#define WAITERS 1
#endif
#define CHANNELS 2
#define PROCESSES (CHANNELS + WAITERS)
#define WORDS 7
#include "tso.h"

#define TAIL(c) (c)
#define READY 2
#define SET_SLEEP_MASK 3
#define WATCH_MASK(c) (4 + (c))
#define GROUP 6

#ifdef GROUPS
#define HAS_POSTED SEEN(me, GROUP)
#else
#define HAS_POSTED SEEN(me, READY)
#endif

#define BYTES_0 (3 - WAITERS)
#define BYTES_1 1
#define BYTES (BYTES_0 + BYTES_1)

/* Of the receiving process. */
byte head[CHANNELS];
byte listed;    /* channels that are perhaps readable */
byte sleepers;  /* threads in the kernel's epoll_wait */
bit set_lock;
bit added;
byte events;
bit slept;

bit bell; /* eventfd, a member of the kernel's epoll set */

inline post_group()
{
	if
	:: SEEN(me, GROUP) -> skip
	:: else -> OR(me, GROUP, 1)
	fi
}

active [CHANNELS] proctype sender()
{
	byte me = _pid - PROCESSES; /* also its channel */
	byte sent, seen;
	bit done;

	do
	:: sent == (me == 0 -> BYTES_0 : BYTES_1) -> break
	:: else ->
#ifdef READY_BEFORE_TAIL
		LOAD(me, READY, seen);
#endif
		sent++;
#ifdef NO_PUBLISH_FENCE
		STORE(me, TAIL(me), sent);
#else
		CAS(me, TAIL(me), sent - 1, sent, done);
#endif
		if
		:: SEEN(me, WATCH_MASK(me)) == 0 -> skip
		:: else ->
#ifndef READY_BEFORE_TAIL
			LOAD(me, READY, seen);
#endif
#ifdef GROUP_FIRST
			post_group();
#endif
			if
			:: seen & (1 << me) -> skip /* set already: who set it has looked for a sleeper */
			:: else ->
#ifdef READY_NOT_ATOMIC
				LOAD(me, READY, seen);
				STORE(me, READY, seen | (1 << me))
#else
				OR(me, READY, 1 << me)
#endif
			fi;
#if defined(GROUPS) && !defined(GROUP_FIRST)
			post_group();
#endif
			if
			:: SEEN(me, SET_SLEEP_MASK) == 0 -> skip
			:: else ->
				AND(me, SET_SLEEP_MASK, 0);
				KERNEL(me);
				bell = 1
			fi
		fi;
		seen = 0
	od
}

inline add(c)
{
#ifdef NO_WATCH_FENCE
	STORE(me, WATCH_MASK(c), 1);
#else
	OR(me, WATCH_MASK(c), 1);
#endif
	if
	:: SEEN(me, TAIL(c)) > head[c] -> listed = listed | (1 << c)
	:: else -> skip
	fi
}

/* The program gets an event of channel c and reads one byte; or c goes off the list. */
inline look(c)
{
	if
	:: !event && (listed & (1 << c)) ->
		if
		:: SEEN(me, TAIL(c)) > head[c] -> head[c]++; event = 1
		:: else -> listed = listed & (255 - (1 << c))
		fi
	:: else -> skip
	fi
}

inline take_posted()
{
#ifndef GROUPS
	EXCHANGE(me, READY, 0, word)
#else
#ifdef WORDS_FIRST
	EXCHANGE(me, READY, 0, word);
	EXCHANGE(me, GROUP, 0, group)
#else
	EXCHANGE(me, GROUP, 0, group);
	if
	:: group -> EXCHANGE(me, READY, 0, word)
	:: else -> word = 0
	fi
#endif
#endif
}

#define may_leave (me < PROCESSES - 1)

inline lock() { atomic { set_lock == 0 -> set_lock = 1 } }
inline unlock() { set_lock = 0 } /* the private lock is a locked instruction; nothing shared depends on the release */

active [WAITERS] proctype waiter()
{
	byte me = _pid - PROCESSES; /* after the senders */
	byte word, group;
	bit event, gone;

	if
	:: me == CHANNELS -> add(0); add(1); added = 1
	:: else -> added
	fi;
	do
	:: events == BYTES || gone -> break
	:: else ->
		lock();
#ifdef TAKE_AFTER_LOOK
		LOAD(me, READY, word);
		listed = listed | word;
#else
		take_posted();
		listed = listed | word;
#endif
		look(0);
		look(1);
#ifdef TAKE_AFTER_LOOK
		EXCHANGE(me, READY, 0, word);
#endif
		if
		:: event ->
			event = 0;
			events++;
#ifndef NO_PASS_ON
			if
			:: sleepers > 0 -> /* it may have slept through a bell that we emptied */
				OR(me, SET_SLEEP_MASK, 1);
				if
				:: listed || HAS_POSTED -> KERNEL(me); bell = 1
				:: else -> skip
				fi
			:: else -> skip
			fi;
#endif
			unlock();
			if
			:: may_leave -> gone = 1
			:: skip
			fi
#if WAITERS > 1
		:: !event && may_leave -> /* it does not want to wait: it asks the kernel, and may empty the bell by that */
			unlock();
			if
			:: bell ->
				bell = 0;
#ifndef NO_PASS_ON_LOOK
				lock();
				if
				:: sleepers > 0 ->
					OR(me, SET_SLEEP_MASK, 1); /* who rang has cleared it for all */
					if
					:: listed || HAS_POSTED -> KERNEL(me); bell = 1
					:: else -> skip
					fi
				:: else -> skip
				fi;
				unlock()
#endif
			:: else -> skip
			fi;
			gone = 1
#endif
		:: !event ->
			sleepers++;
#ifdef NO_SLEEP_FENCE
			STORE(me, SET_SLEEP_MASK, 1);
#else
			OR(me, SET_SLEEP_MASK, 1);
#endif
			unlock();
			if
#ifndef NO_RECHECK
			:: listed || HAS_POSTED -> skip
			:: else ->
#else
			:: true ->
#endif
#ifdef DRAIN_LATE
				bell = 0;
#endif
				if /* the kernel's epoll_wait */
				:: bell ->
#ifndef DRAIN_LATE
					bell = 0;
#endif
					slept = 1
				:: may_leave -> gone = 1
				:: events == BYTES -> skip
				fi
			fi;
			lock();
			sleepers--;
#ifdef CLEAR_ALONE
			AND(me, SET_SLEEP_MASK, 0);
#else
			if
			:: sleepers == 0 -> AND(me, SET_SLEEP_MASK, 0)
			:: else -> OR(me, SET_SLEEP_MASK, 1) /* the sender has cleared it for all */
			fi;
#endif
			unlock()
		fi;
		word = 0
	od;
	WITNESS(events == BYTES && slept && !gone)
}
