/* The receiver closes, or dies, with bytes unread or not: docs/local-transport.md, section 7.
 *
 * Mirrors: local_close, reset_at_close, with revoke_for_good, local_ring_unread; ring_step, kernel_step; local_peer_gone,
 * emulate_reset.
 * The receiver reads what it likes, then closes; it may die between any two steps, and then the kernel closes its socket.
 * The sender sends by the ring or the kernel, as long as it likes, and looks at the kernel's end when it likes, but does so in
 * the end. Order and carriers are the matter of other models: a byte is only counted here.
 * Proves: the connection is reset if, and only if, a byte that send() accepted was not read: for every byte of the ring, either
 * the publish fails, or the closer sees it and resets, or the sender sees that a dead receiver has left it.
 * -DREACH -DREACH_CLOSED: the other witness, a close in good order that resets.
 * Variants that must fail:
 *   CLOSE_LOOKS_FIRST  the close looks for unread bytes before it sets NEVER
 *   CLOSE_PLAIN        the close sets NEVER by a load and a store (and a fence)
 *   PUBLISH_PLAIN      `tail` is published by a load and a store (and a fence)
 *   MARK_FIRST         `closed` is marked before the kernel is told to reset: who dies between leaves bytes and no reset
 *   NO_EMULATION       the sender does not reset what a dead receiver has left */

#define PROCESSES 2
#define WORDS 3
#define SENDER 0
#define RECEIVER 1
#include "tso.h"

#define TAIL 0
#define HEAD 1
#define CLOSED 2
#define NEVER 64
#define OFFSET(word) ((word) & 63)

#define BYTES 3

/* The kernel: bytes in the receiver's queue; what its close does. */
byte queue;
bit linger; /* SO_LINGER {1, 0} */
bit gone;   /* the receiver's socket is closed */
bit reset;

byte accepted, received;
bit refused, closed_unread, emulated; /* witnesses */

inline kernel_send(sent)
{
	d_step {
		KERNEL(SENDER) ->
		if
		:: gone -> reset = 1 /* the kernel answers with RST */
		:: else -> queue = queue + sent
		fi
	}
}

/* Linux resets where bytes are unread. */
inline kernel_close()
{
	d_step {
		KERNEL(RECEIVER) ->
		gone = 1;
		reset = linger || queue > 0
	}
}

inline peer_gone()
{
	told = 1;
	if
	:: SEEN(SENDER, CLOSED) || reset -> skip
	:: else ->
#ifndef NO_EMULATION
		LOAD(SENDER, HEAD, head);
		LOAD(SENDER, TAIL, word);
		if
		:: OFFSET(word) > head -> n = OFFSET(word) - head; kernel_send(n); emulated = 1
		:: else -> skip
		fi
#else
		skip
#endif
	fi
}

active proctype sender()
{
	byte word, head, n;
	bit told; /* SOCK_GONE */

	do
	:: accepted == BYTES -> break
	:: true -> break
	:: gone && !told -> peer_gone()
	:: accepted < BYTES ->
		LOAD(SENDER, TAIL, word);
		if
		:: reset && gone -> break /* EPIPE or ECONNRESET */
		:: true -> atomic { kernel_send(1); accepted++ } /* revoked, told, or as it likes */
		:: word < NEVER && !told ->
#ifdef PUBLISH_PLAIN
			STORE(SENDER, TAIL, word + 1);
			FENCE(SENDER);
			accepted++
#else
			d_step {
				FENCE(SENDER) ->
				if
				:: memory[TAIL] == word -> memory[TAIL] = word + 1; accepted++
				:: else -> refused = 1
				fi
			}
#endif
		fi;
		atomic { word = 0; head = 0; n = 0 }
	od;
	gone; /* it finds the kernel's end in the end */
	if
	:: !told -> peer_gone()
	:: else -> skip
	fi;
	assert(reset == (accepted > received));
#ifdef REACH_CLOSED
	WITNESS(closed_unread && refused && received > 0)
#else
	WITNESS(emulated && received > 0)
#endif
}

inline may_die()
{
	if
	:: goto dead
	:: skip
	fi
}

active proctype receiver()
{
	byte word, head, unread;

	do
	:: true -> break
	:: queue > 0 -> d_step { queue--; received++ }
	:: true ->
		LOAD(RECEIVER, TAIL, word);
		if
		:: OFFSET(word) > head -> head++; atomic { STORE(RECEIVER, HEAD, head); received++ }
		:: else -> skip
		fi;
		word = 0
	od;
	may_die();
#ifdef CLOSE_LOOKS_FIRST
	LOAD(RECEIVER, TAIL, unread);
#endif
#ifdef CLOSE_PLAIN
	LOAD(RECEIVER, TAIL, word);
	STORE(RECEIVER, TAIL, word | NEVER);
	FENCE(RECEIVER);
#else
	OR(RECEIVER, TAIL, NEVER);
#endif
#ifndef CLOSE_LOOKS_FIRST
	LOAD(RECEIVER, TAIL, unread);
#endif
	unread = OFFSET(unread) - head;
	may_die();
#ifdef MARK_FIRST
	STORE(RECEIVER, CLOSED, 1);
	may_die();
#endif
	if
	:: unread -> linger = 1; closed_unread = 1
	:: else -> skip
	fi;
	may_die();
#ifndef MARK_FIRST
	STORE(RECEIVER, CLOSED, 1);
#endif
dead:	kernel_close()
}
