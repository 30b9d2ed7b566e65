/* Shared memory as an x86 processor shows it: every process has a FIFO store buffer.
 *
 * Decides: what a load, a store, a fence and a locked instruction see. spin alone would let a store be seen by all at once
 * (sequential consistency), and then no fence would ever be missed.
 * Used by: every model in this folder. Before the #include a model defines
 *   PROCESSES  processes that have a store buffer; they name themselves 0 .. PROCESSES-1
 *   WORDS      words of shared memory; a word is a byte, and is named by its index in memory[]
 *
 *   LOAD(p, a, x)          x = the youngest of p's own buffered stores to a, else memory[a]
 *   STORE(p, a, v)         into p's buffer; others see it when drain() takes it out, in order (so a STORE is a release,
 *                          and a LOAD an acquire, as on x86)
 *   FENCE(p)               p goes on when its buffer is empty
 *   CAS, EXCHANGE, OR, AND locked instructions: FENCE and the change in one step
 *   KERNEL(p)              p enters the kernel: a FENCE, because a call on a socket or an eventfd takes a lock in there, and
 *                          what it queues comes after p's earlier stores
 *
 * Nothing else is reordered: what a compiler or a weaker processor could do must be excluded by acquire and release in C.
 * Each model says which order it relies on, and where it matters shows by a variant that the other order fails. */

#define BUFFER_MAX 3

typedef store_buffer {
	byte count;
	byte word[BUFFER_MAX];
	byte value[BUFFER_MAX];
};

store_buffer buffer[PROCESSES];
byte memory[WORDS];

/* The first processes, so that _pid is the number of the buffer. The processes of a model come after them. */
active [PROCESSES] proctype drain()
{
end:	do
	:: d_step {
		buffer[_pid].count > 0 ->
		memory[buffer[_pid].word[0]] = buffer[_pid].value[0];
		buffer[_pid].word[0] = buffer[_pid].word[1];
		buffer[_pid].value[0] = buffer[_pid].value[1];
		buffer[_pid].word[1] = buffer[_pid].word[2];
		buffer[_pid].value[1] = buffer[_pid].value[2];
		buffer[_pid].word[2] = 0;
		buffer[_pid].value[2] = 0;
		buffer[_pid].count--
	}
	od
}

#define SEEN(p, a) \
	(buffer[p].count > 2 && buffer[p].word[2] == (a) -> buffer[p].value[2] : \
	(buffer[p].count > 1 && buffer[p].word[1] == (a) -> buffer[p].value[1] : \
	(buffer[p].count > 0 && buffer[p].word[0] == (a) -> buffer[p].value[0] : memory[a])))

#define LOAD(p, a, x) x = SEEN(p, a)

inline STORE(p, a, v)
{
	d_step {
		buffer[p].count < BUFFER_MAX ->
		buffer[p].word[buffer[p].count] = a;
		buffer[p].value[buffer[p].count] = v;
		buffer[p].count++
	}
}

#define FENCE(p) (buffer[p].count == 0)
#define KERNEL(p) (buffer[p].count == 0)

inline CAS(p, a, expected, desired, done)
{
	d_step {
		buffer[p].count == 0 ->
		if
		:: memory[a] == (expected) -> memory[a] = desired; done = 1
		:: else -> done = 0
		fi
	}
}

inline EXCHANGE(p, a, v, old)
{
	d_step { buffer[p].count == 0 -> old = memory[a]; memory[a] = v }
}

inline OR(p, a, bits)
{
	d_step { buffer[p].count == 0 -> memory[a] = memory[a] | (bits) }
}

inline AND(p, a, bits)
{
	d_step { buffer[p].count == 0 -> memory[a] = memory[a] & (bits) }
}

/* A model that does nothing has no errors. Built with -DREACH, WITNESS(what) is an error when `what` holds, so that the
 * test can demand that the interesting end is reached: it must fail. */
#ifdef REACH
#define WITNESS(what) assert(!(what))
#else
#define WITNESS(what) skip
#endif
