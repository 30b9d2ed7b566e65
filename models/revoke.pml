/* REVOKED and the end of a direction: docs/local-transport.md, sections 1, 3, 4, 5 and 7.
 *
 * Mirrors: the sender's publish that fails on REVOKED and goes by the kernel; the receiver without a bell, which takes
 * the ring out of use before it sleeps in the kernel; the end, by close or by death of the sender. (The receiver's own close
 * is in close.pml, several such receivers are in revoke_sleepers.pml.)
 * The sender chooses the carrier for every byte, then closes; or falls silent for ever, which leaves a receiver that has
 * bytes to read in an invalid end state; or dies between any two steps, and the kernel sends FIN. The receiver reads until the end. The bells are left out: nothing but the kernel wakes a sleeper.
 * Proves: bytes come once and in order; nobody sleeps in the kernel while bytes are in the ring; the end is believed only
 * when every byte that send() accepted was received.
 * Variants that must fail:
 *   REVOKED_PLAIN     REVOKED is set by a load and a store (and a fence), not by CAS
 *   REVOKED_UNEMPTY   the ring is revoked for a sleep though bytes are unread
 *   PUBLISH_PLAIN     `tail` is published by a load and a store (and a fence), not by CAS
 *   END_AT_ONCE       the end is believed on the ring without a second look at `tail` and change_count
 *   END_AT_ONCE_KERNEL the same on the kernel carrier */

#define PROCESSES 2
#define WORDS 4
#define SENDER 0
#define RECEIVER 1
#include "tso.h"

#define SLOTS 2 /* see carrier_change.pml */
#define TAIL 0
#define CHANGE_COUNT 1
#define CHANGE_OFFSET(i) (2 + ((i) % SLOTS))
#define REVOKED 128
#define OFFSET(word) ((word) & 127)

#define BYTES 3

/* The kernel, as in carrier_change.pml; FIN arrives after the bytes. */
byte kernel_byte[BYTES], kernel_sent, kernel_arrived, kernel_read;
bit fin_sent, fin_arrived;
#define SIOCINQ (kernel_arrived - kernel_read)

byte ring_byte[BYTES]; /* written before `tail`, see carrier_change.pml */
byte changes_taken;
byte accepted;         /* bytes that send() has taken */
byte published;        /* how many of them went by the ring */
bit silent;            /* the sender will do nothing more */
bit slept, took_ring, ended; /* witnesses */

active proctype wire()
{
end:	do
	:: d_step { kernel_arrived < kernel_sent -> kernel_arrived++ }
	:: d_step { fin_sent && kernel_arrived == kernel_sent && !fin_arrived -> fin_arrived = 1 }
	od
}

inline may_die()
{
	if
	:: goto dead
	:: skip
	fi
}

inline record_change(offset)
{
	changes++;
	STORE(SENDER, CHANGE_OFFSET(changes), offset);
	STORE(SENDER, CHANGE_COUNT, changes)
}

inline kernel_send()
{
	if
	:: changes % 2 == 1 -> record_change(tail)
	:: else -> skip
	fi;
	may_die();
	d_step { KERNEL(SENDER) -> kernel_byte[kernel_sent] = accepted; kernel_sent++; accepted++ }
}

active proctype sender()
{
	byte tail, changes; /* own words, not loaded */
	byte word;
	bit done;

	do
	:: accepted == BYTES -> break
	:: else ->
		may_die();
		if
		:: silent = 1; goto over
		:: skip
		fi;
		LOAD(SENDER, TAIL, word);
		if
		:: true -> kernel_send()
		:: !(word & REVOKED) && (changes % 2 == 1 || changes == changes_taken) ->
			if
			:: changes % 2 == 0 -> KERNEL(SENDER); record_change(kernel_sent)
			:: else -> skip
			fi;
			may_die();
#ifdef PUBLISH_PLAIN
			LOAD(SENDER, TAIL, word);
			if
			:: word & REVOKED -> skip
			:: else ->
				ring_byte[published] = accepted;
				STORE(SENDER, TAIL, word + 1);
				accepted++;
				published++;
				tail++;
				FENCE(SENDER)
			fi
#else
			d_step {
				FENCE(SENDER) ->
				if
				:: memory[TAIL] == word ->
					assert(OFFSET(word) == published);
					ring_byte[published] = accepted;
					memory[TAIL] = word + 1;
					accepted++;
					published++;
					tail++
				:: else -> skip /* revoked: start again, the byte was never sent */
				fi
			}
#endif
		fi;
		word = 0
	od;
	/* close: the direction is the kernel's again, then FIN */
	if
	:: changes % 2 == 1 -> record_change(tail)
	:: else -> skip
	fi;
dead:	KERNEL(SENDER);
	fin_sent = 1;
over:	skip
}

inline kernel_receive(most)
{
	d_step {
		KERNEL(RECEIVER) ->
		n = (most < SIOCINQ -> most : SIOCINQ);
		do
		:: n > 0 ->
			assert(kernel_byte[kernel_read] == received);
			received++;
			kernel_read++;
			n--
		:: else -> break
		od
	}
}

inline end_is_believed()
{
	assert(received == accepted);
	ended = 1;
	goto over
}

/* Without a bell: the ring is taken out of use, if it is empty; then the kernel wakes us. */
inline sleep_in_kernel()
{
	LOAD(RECEIVER, TAIL, word);
#ifndef REVOKED_UNEMPTY
	if
	:: OFFSET(word) != head -> done = 0
	:: else ->
#endif
#ifdef REVOKED_PLAIN
		STORE(RECEIVER, TAIL, word | REVOKED);
		FENCE(RECEIVER);
		done = 1
#else
		CAS(RECEIVER, TAIL, word, word | REVOKED, done)
#endif
#ifndef REVOKED_UNEMPTY
	fi
#endif
	if
	:: done ->
		if
		:: SIOCINQ > 0 || fin_arrived -> slept = 1 /* ppoll */
		:: silent && received == accepted -> goto over
		fi;
		AND(RECEIVER, TAIL, 127)
	:: else -> skip
	fi
}

active proctype receiver()
{
	byte received, head;
	byte word, tail, changes, limit, inq, n;
	bit done, fin;

	do
	:: true ->
		LOAD(RECEIVER, TAIL, tail);
		tail = OFFSET(tail);
		LOAD(RECEIVER, CHANGE_COUNT, changes);
		if
		:: changes_taken % 2 == 1 -> /* on the ring */
			if
			:: changes_taken < changes -> LOAD(RECEIVER, CHANGE_OFFSET(changes_taken + 1), limit)
			:: else -> limit = tail
			fi;
			if
			:: head < limit ->
				assert(ring_byte[head] == received);
				received++;
				head++;
				took_ring = 1
			:: head >= limit && changes_taken < changes -> changes_taken++
			:: head >= limit && changes_taken == changes ->
				d_step { KERNEL(RECEIVER) -> fin = fin_arrived && SIOCINQ == 0 };
				if
				:: fin ->
#ifndef END_AT_ONCE
					LOAD(RECEIVER, TAIL, limit);
					LOAD(RECEIVER, CHANGE_COUNT, n);
					if
					:: OFFSET(limit) != tail || n != changes -> skip
					:: else ->
#endif
						end_is_believed()
#ifndef END_AT_ONCE
					fi
#endif
				:: else -> sleep_in_kernel()
				fi
			fi
		:: changes_taken % 2 == 0 && changes_taken < changes ->
			LOAD(RECEIVER, CHANGE_OFFSET(changes_taken + 1), limit);
			if
			:: limit == kernel_read -> changes_taken++
			:: else ->
				kernel_receive(limit - kernel_read);
				if
				:: limit == kernel_read -> skip
				:: else -> SIOCINQ > 0
				fi
			fi
		:: changes_taken % 2 == 0 && changes_taken == changes ->
			d_step { KERNEL(RECEIVER) -> inq = SIOCINQ };
			LOAD(RECEIVER, CHANGE_COUNT, changes);
			if
			:: changes_taken != changes -> skip
			:: changes_taken == changes && inq > 0 -> kernel_receive(inq)
			:: changes_taken == changes && inq == 0 ->
				d_step { KERNEL(RECEIVER) -> inq = SIOCINQ; fin = fin_arrived }; /* peek */
				if
				:: inq > 0 -> skip
				:: inq == 0 && fin ->
#ifndef END_AT_ONCE_KERNEL
					LOAD(RECEIVER, CHANGE_COUNT, n);
					if
					:: n != changes -> skip
					:: else ->
#endif
						end_is_believed()
#ifndef END_AT_ONCE_KERNEL
					fi
#endif
				:: inq == 0 && !fin -> sleep_in_kernel()
				fi
			fi
		fi;
		atomic { word = 0; tail = 0; changes = 0; limit = 0; inq = 0; n = 0; fin = 0; done = 0 }
	od;
over:	WITNESS(ended && slept && took_ring && accepted == BYTES)
}
