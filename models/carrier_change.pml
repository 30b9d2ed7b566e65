/* Carrier changes of one direction: docs/local-transport.md, sections 2, 3 and 4.
 *
 * Mirrors: the sender's move to the ring, move to the kernel and overflow; the receiver's three cases (ring; kernel with
 * a change pending; kernel without).
 * The sender chooses the carrier anew for every byte, as policy, a revoke that comes and goes, or a full ring would make it.
 * The ring holds 2 bytes. It moves to the ring only when every earlier change is passed, so that at most two are pending, and
 * change_offset[] has SLOTS of 2 entries here (8 in C: a take-back needs a third). The kernel carrier is a FIFO with a wire: a byte that was sent has not yet arrived.
 * Proves: every byte is received once and in order, and the receiver ends with all of them. A receiver that finds
 * nothing waits for what wakes it in C: a byte in the kernel's queue, or bytes published in the ring (how a bell brings
 * that is the matter of sleep_wake.pml; a change alone rings nothing). So a byte that is stuck is an invalid end state.
 * The kernel's EPOLLIN is never false: with bytes in the kernel's queue there is always something to receive.
 * Variants that must fail:
 *   READ_WITHOUT_INQ    change_count is looked at first, and the kernel receive takes all that is there
 *   INQ_AFTER_COUNT     change_count is not looked at again after SIOCINQ
 *   OFFSET_AFTER_BYTE   a change is recorded after the first byte on the new carrier
 *   COUNT_BEFORE_OFFSET change_count is stored before its change_offset
 *   OFFSET_OF_ARRIVED   the kernel offset leaves out what is sent and has not arrived
 *   UNREAD_AT_ONCE      on the kernel carrier, bytes seen in the ring are received though change_count was loaded before
 *   TAIL_BEFORE_BYTE    `tail` is published before the byte is in the ring
 *   PENDING_UNBOUNDED   the sender moves to the ring whatever is pending
 *   PENDING_ONE_MORE    the sender moves to the ring though one change is not passed yet */

#define PROCESSES 2
#define WORDS 8
#define SENDER 0
#define RECEIVER 1
#include "tso.h"

#define RING_BYTES 2
#define SLOTS 2
#define TAIL 0
#define CHANGE_COUNT 1
#define HEAD 2
#define CHANGES_TAKEN 3
#define CHANGE_OFFSET(i) (4 + ((i) % SLOTS))
#define RING(i) (6 + ((i) % RING_BYTES))

#ifndef BYTES
#define BYTES 6
#endif

#ifdef PENDING_UNBOUNDED
#define PENDING_MAX 255
#else
#ifdef PENDING_ONE_MORE
#define PENDING_MAX 1
#else
#define PENDING_MAX 0 /* every earlier change is passed */
#endif
#endif

/* The kernel: bytes [kernel_read, kernel_arrived) are in the receive queue, [kernel_arrived, kernel_sent) on the wire. */
byte kernel_byte[BYTES];
byte kernel_sent, kernel_arrived, kernel_read;

#define SIOCINQ (kernel_arrived - kernel_read)
#define POSITION kernel_read /* bytes_received - SIOCINQ, consistent by two equal TCP_INFO */
#ifdef OFFSET_OF_ARRIVED
#define KERNEL_OFFSET kernel_arrived
#else
#define KERNEL_OFFSET kernel_sent /* bytes_sent - bytes_retrans + notsent_bytes */
#endif

bit overflowed, wrapped; /* witnesses */

active proctype wire()
{
end:	do
	:: d_step { kernel_arrived < kernel_sent -> kernel_arrived++ }
	od
}

inline record_change(offset)
{
	d_step { change_at = offset; changes++ }
#ifdef COUNT_BEFORE_OFFSET
	STORE(SENDER, CHANGE_COUNT, changes);
	STORE(SENDER, CHANGE_OFFSET(changes), change_at);
#else
	STORE(SENDER, CHANGE_OFFSET(changes), change_at);
	STORE(SENDER, CHANGE_COUNT, changes);
#endif
	change_at = 0
}

inline kernel_send()
{
	d_step { KERNEL(SENDER) -> kernel_byte[kernel_sent] = sent; kernel_sent++ }
}

active proctype sender()
{
	byte sent;            /* the next byte; its value is its number */
	byte tail, changes;   /* own words, not loaded */
	byte change_at, head, taken;
	bit done;

	do
	:: sent == BYTES -> break
	:: else ->
		LOAD(SENDER, HEAD, head);
		LOAD(SENDER, CHANGES_TAKEN, taken);
		if
		:: true -> /* by the kernel */
kernel:			if
			:: changes % 2 == 1 ->
#ifdef OFFSET_AFTER_BYTE
				kernel_send();
				record_change(tail)
#else
				record_change(tail);
				kernel_send()
#endif
			:: else ->
				kernel_send()
			fi
		:: changes % 2 == 1 || changes - taken <= PENDING_MAX -> /* by the ring */
			if
			:: tail - head == RING_BYTES ->
				overflowed = 1;
				goto kernel
			:: else -> skip
			fi;
#ifndef OFFSET_AFTER_BYTE
			if
			:: changes % 2 == 0 ->
				KERNEL(SENDER); /* TCP_INFO */
				record_change(KERNEL_OFFSET)
			:: else -> skip
			fi;
#endif
#ifdef TAIL_BEFORE_BYTE
			CAS(SENDER, TAIL, tail, tail + 1, done);
			STORE(SENDER, RING(tail), sent);
#else
			STORE(SENDER, RING(tail), sent);
			CAS(SENDER, TAIL, tail, tail + 1, done);
#endif
			tail++;
#ifdef OFFSET_AFTER_BYTE
			if
			:: changes % 2 == 0 ->
				record_change(KERNEL_OFFSET)
			:: else -> skip
			fi;
#endif
		fi;
		d_step {
			sent++;
			head = 0;
			taken = 0;
			if
			:: changes > SLOTS -> wrapped = 1
			:: else -> skip
			fi
		}
	od
}

/* At most `most` bytes out of the kernel's queue. */
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

inline wait_for(something)
{
	(something)
}

active proctype receiver()
{
	byte received;      /* the number of the byte that must come next */
	byte taken, head;   /* own words, not loaded */
	byte changes, tail, limit, inq, value, n;
	bit done;

	do
	:: received == BYTES -> break
	:: else ->
		LOAD(RECEIVER, TAIL, tail);
		LOAD(RECEIVER, CHANGE_COUNT, changes);
		assert(taken <= changes);
		if
		:: taken % 2 == 1 -> /* on the ring */
			if
			:: taken < changes -> LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit)
			:: else -> limit = tail
			fi;
			if
			:: head < limit ->
				assert(limit - head <= RING_BYTES);
				do /* copy, then take it all at once */
				:: head < limit ->
					LOAD(RECEIVER, RING(head), value);
					assert(value == received);
					d_step { received++; head++; value = 0 }
				:: else -> break
				od;
				KERNEL(RECEIVER);
				memory[HEAD] = head /* the CAS; nobody else writes it in this model */
			:: else ->
				assert(head == limit);
				if
				:: taken < changes ->
					taken++;
					STORE(RECEIVER, CHANGES_TAKEN, taken)
				:: else ->
					d_step { KERNEL(RECEIVER) -> inq = SIOCINQ };
					LOAD(RECEIVER, TAIL, limit);
					LOAD(RECEIVER, CHANGE_COUNT, changes);
					assert(inq == 0 || limit > head || changes > taken);
					if
					:: limit > head || changes > taken -> skip
					:: else -> wait_for(memory[TAIL] != tail || SIOCINQ > 0)
					fi
				fi
			fi
		:: taken % 2 == 0 && taken < changes -> /* on the kernel, a change is pending */
			LOAD(RECEIVER, CHANGE_OFFSET(taken + 1), limit);
			assert(limit >= POSITION);
			if
			:: limit == POSITION ->
				taken++;
				STORE(RECEIVER, CHANGES_TAKEN, taken)
			:: else ->
				kernel_receive(limit - POSITION);
				if
				:: limit == POSITION -> skip
				:: else -> wait_for(SIOCINQ > 0)
				fi
			fi
		:: taken % 2 == 0 && taken == changes -> /* on the kernel */
#ifdef UNREAD_AT_ONCE
			LOAD(RECEIVER, TAIL, limit);
			if
			:: head < limit ->
				LOAD(RECEIVER, RING(head), value);
				assert(value == received)
			:: else -> skip
			fi;
#endif
#ifdef READ_WITHOUT_INQ
			inq = BYTES;
#else
			d_step { KERNEL(RECEIVER) -> inq = SIOCINQ };
#ifndef INQ_AFTER_COUNT
			LOAD(RECEIVER, CHANGE_COUNT, changes);
#endif
#endif
			if
			:: taken != changes -> skip
			:: else ->
				kernel_receive(inq);
				if
				:: received == BYTES -> skip
				:: else -> wait_for(memory[TAIL] != tail || SIOCINQ > 0)
				fi
			fi
		fi;
		d_step { changes = 0; tail = 0; limit = 0; inq = 0 }
	od;
	WITNESS(overflowed && wrapped)
}
