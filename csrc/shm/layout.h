/* The layout of all shared memory: what programs, peers and tools map.
 *
 * Decides: sizes, offsets, cache lines, and who writes which word. Nothing else defines shared layout: C includes this
 * file, and Python parses it (byway.shm.layout), so it keeps to a small subset of C: fixed-width members, explicit
 * padding, arrays of constants, enums and #defines of plain integers.
 * Invariant: no pointers, no alignment that is not written out; every line that two processes use has one writer,
 * or is changed by compare-and-swap only. */
#ifndef BYWAY_SHM_LAYOUT_H
#define BYWAY_SHM_LAYOUT_H

#include <stdint.h>

#define SHM_MAGIC_ARENA 0x616e657261776279 /* "bywarena" */
#define SHM_MAGIC_PAIR 0x7269617079617762  /* "bwaypair" */

#define SHM_SOCKETS_MAX 32768  /* sockets of one family (a process and those it forked) */
#define SHM_PROCESSES_MAX 256  /* processes of one family that hold sockets */
#define SHM_COUNTERS_MAX 64    /* see counters.def */
#define SHM_BELLS_MAX 8        /* bells of one end of a pair */
#define SHM_CHANNELS_MAX 16384 /* channels of one pair */
#define SHM_READY_WORDS 256    /* SHM_CHANNELS_MAX bits */
#define SHM_READY_GROUP 8      /* words of a ready bitmap for which one bit of `ready_groups` stands */
#define SHM_CHANGES_MAX 8      /* carrier changes that a receiver may not have passed yet */
#define SHM_REGIONS_MAX 68     /* memory regions of one pair; region r > 0 adds channels */

/* -- the arena: one for each family, mapped by its processes only, found by tools as memfd "byway.arena" ------------- */

enum shm_socket_state {
	SHM_SOCKET_FREE = 0,
	SHM_SOCKET_OPEN = 1, /* a kernel socket, may attach */
	SHM_SOCKET_LISTEN = 2, /* listens */
	SHM_SOCKET_OFFERED = 3, /* waits at its meeting name */
	SHM_SOCKET_JOINED = 4, /* own end of a channel is attached, the other not yet */
	SHM_SOCKET_ATTACHED = 5, /* both ends attached, calls go through the engine */
	SHM_SOCKET_NEVER = 6 /* kernel only, for the reason in `reason` */
};

/* One TCP socket (one open file description). Writer: its family, by atomics. 256 bytes. */
struct shm_socket {
	uint32_t state; /* enum shm_socket_state */
	uint32_t reason; /* reasons.def: why it is not accelerated; 0: nothing to say */
	uint32_t descriptor; /* a descriptor of it in process `owner` (a hint for tools) */
	uint32_t owner; /* process slot that attached it, or made it */
	uint64_t cookie; /* SO_COOKIE; 0 until asked */
	uint64_t holders[4]; /* bit p: process slot p has a descriptor of it */
	uint32_t pair; /* index in the owner's table of pairs, when joined or attached */
	uint32_t channel; /* channel number in that pair */
	uint32_t end; /* which end we are: 0 or 1 */
	uint32_t flags; /* enum sock_flag of csrc/sock */
	uint64_t reader_lock; /* owner word, see base/lock.h */
	uint64_t writer_lock; /* owner word */
	uint32_t pending_error; /* errno to be reported once (SO_ERROR), set by an emulated reset */
	uint32_t reserved0;
	uint64_t ring_sent_bytes; /* of channels that this socket has left */
	uint64_t ring_received_bytes;
	uint64_t last_ring_sent_bytes; /* refreshed now and then for tools */
	uint64_t last_ring_received_bytes;
	uint64_t moves_to_ring; /* own direction; on the ring now when it is one more than moves_to_kernel */
	uint64_t moves_to_kernel;
	uint64_t changes_taken; /* of the direction we receive; odd: the ring */
	uint64_t kernel_taken; /* under the reader's lock: bytes taken out of the kernel, by all who hold the socket */
	uint64_t reserved[12];
};
_Static_assert(sizeof(struct shm_socket) == 256, "shm_socket is 256 bytes");

/* One process of a family. 64 bytes. */
struct shm_process {
	uint64_t owner; /* 0: free; else process id */
	uint64_t start_time; /* field 22 of /proc/PID/stat, clock ticks */
	uint64_t pidns; /* inode of the pid namespace */
	char name[16]; /* comm, zero-padded */
	uint64_t reserved[3];
};
_Static_assert(sizeof(struct shm_process) == 64, "shm_process is one line");

struct shm_arena {
	uint64_t magic;
	uint64_t abi_hash;
	uint64_t creator; /* process id */
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint32_t sockets_max;
	uint32_t processes_max;
	uint32_t socket_high; /* sockets at or above were never used */
	uint32_t reserved0;
	uint64_t reserved[2];
	uint64_t counters[SHM_COUNTERS_MAX]; /* counters.def */
	struct shm_process processes[SHM_PROCESSES_MAX];
	struct shm_socket sockets[SHM_SOCKETS_MAX];
};
_Static_assert(__builtin_offsetof(struct shm_arena, counters) == 64, "arena head is one line");
_Static_assert(__builtin_offsetof(struct shm_arena, processes) == 576, "after 64 counters");

/* -- a pair: the memory that two ends share. memfd "byway.pair" ---------------------------------------------------- */

#define SHM_TAIL_REVOKED 0x8000000000000000 /* for now */
#define SHM_TAIL_NEVER 0x4000000000000000 /* for good: nobody clears it */
#define SHM_HEAD_TAKEN 0x8000000000000000
#define SHM_GENERATION_SHIFT 48
#define SHM_OFFSET_MASK 0xffffffffffff

/* In `resend_wanted`: the receiver sends unread bytes by the kernel itself, in the sender's place. Above the two bits: the id of
 * the thread that does it, in the receiver's namespace. MOVING: bytes are on their way between ring and kernel; if the thread
 * dies now, they are lost. */
#define SHM_CLAIM_HELD 0x2
#define SHM_CLAIM_MOVING 0x4
#define SHM_CLAIM_SHIFT 3

/* One direction of a channel. Identities: bytes [head, tail) of the ring are published and unread. */
struct shm_direction {
	/* line 0: sender writes, receiver reads (and sets REVOKED) */
	uint64_t tail;
	uint64_t change_count;
	uint64_t pad0[6];
	/* line 1: sender writes */
	uint64_t change_offset[SHM_CHANGES_MAX];
	/* line 2: receiver writes, sender reads when the ring seems full (and sets TAKEN) */
	uint64_t head;
	uint64_t changes_taken;
	uint64_t pad2[6];
	/* line 3: receiver writes rarely, sender reads at every publish */
	uint32_t sleep_mask; /* bells of blocking sleepers; the sender exchanges it with 0 */
	uint32_t watch_mask; /* bells of epoll sets that watch */
	uint32_t tell_of_kernel; /* wake the receiver for bytes by the kernel too: it counts them and the ring's together */
	uint32_t resend_wanted; /* CAS. 1: the receiver asks the sender to send unread bytes by the kernel; SHM_CLAIM_… */
	uint64_t pad3[6];
	/* line 4: marks of the sending end */
	uint32_t half_closed;
	uint32_t closed;
	uint32_t sender_busy; /* the sender changes its carrier or sends by the kernel: see csrc/local/handback.c */
	uint32_t sender_descriptor; /* its socket in its process, checked by cookie before use */
	uint32_t kernel_for_good; /* the sender never comes back to the ring */
	uint32_t reserved4;
	uint64_t pad4[5];
};
_Static_assert(sizeof(struct shm_direction) == 320, "five lines");
_Static_assert(__builtin_offsetof(struct shm_direction, head) == 128, "head on line 2");
_Static_assert(__builtin_offsetof(struct shm_direction, sleep_mask) == 192, "sleep_mask on line 3");
_Static_assert(__builtin_offsetof(struct shm_direction, half_closed) == 256, "marks on line 4");

enum shm_channel_end {
	SHM_END_NONE = 0,
	SHM_END_OPEN = 1,
	SHM_END_CLOSED = 2
};

/* One local connection. direction[e] is sent by end e. */
struct shm_channel {
	uint32_t in_use; /* 0 free, 1 in use, 2 being reset; CAS */
	uint32_t ends[2]; /* enum shm_channel_end; CAS */
	uint32_t reserved0;
	uint64_t cookies[2]; /* kernel cookies of the sockets of end 0 and 1 */
	uint64_t pad[4];
	struct shm_direction direction[2];
};
_Static_assert(sizeof(struct shm_channel) == 704, "eleven lines");

#define SHM_PAIR_LEFT 0xffffffffffffffff /* in `process`: the end's program became one that does not know the pair */

/* What one end owns in a pair; the other sets bits. */
struct shm_pair_end {
	uint64_t process; /* process id of the end's creator, or SHM_PAIR_LEFT */
	uint64_t start_time;
	uint32_t bell_count;
	uint32_t forked; /* the end has forked since: ask each socket, not the pair, whether it lives */
	uint64_t pad0[5];
	uint32_t set_sleep_mask; /* bit k: the epoll set of bell k sleeps; owner sets, peer clears and rings */
	uint32_t ready_groups[SHM_BELLS_MAX]; /* bit g of k: a bit is in words 8 g … 8 g + 7 of bitmap k; not for word 0 */
	uint32_t pad1[7];
	uint64_t ready[SHM_BELLS_MAX * SHM_READY_WORDS]; /* ready[k * 256 + w]: bitmap k, word w */
};
_Static_assert(sizeof(struct shm_pair_end) == 16512, "two lines and eight bitmaps");

/* Region 0 begins with this; every region then holds `channels` of struct shm_channel and, page-aligned, their rings. */
struct shm_pair {
	uint64_t magic;
	uint64_t abi_hash;
	uint64_t creator; /* process id of end 0 */
	uint64_t id[2]; /* random */
	uint32_t ring_bytes; /* of one direction; a power of two */
	uint32_t region_count;
	uint64_t pad[2];
	struct shm_pair_end ends[2];
};
_Static_assert(__builtin_offsetof(struct shm_pair, ends) == 64, "head is one line");

#endif
