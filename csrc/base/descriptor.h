/* Byway's own descriptors: kept out of the way of the program's, close-on-exec, known so that the program's close-all
 * habits can be survived. Any thread. */
#ifndef BYWAY_BASE_DESCRIPTOR_H
#define BYWAY_BASE_DESCRIPTOR_H

#include <stdint.h>

#define DESCRIPTORS_MAX (1 << 18) /* higher ones are left to the kernel */

/* One word a descriptor: kind in the top byte, an index below. Read on every interposed call. */
enum descriptor_kind {
	DESCRIPTOR_UNKNOWN = 0,
	DESCRIPTOR_SOCKET = 1, /* index: socket slot in the arena */
	DESCRIPTOR_SET = 2,    /* index: epoll set */
	DESCRIPTOR_OWN = 3,    /* Byway's own */
	DESCRIPTOR_LISTENER = 4 /* listens, and is not TCP */
};

#define DESCRIPTOR_INDEX_MASK 0xffffffu

extern uint32_t descriptor_table[DESCRIPTORS_MAX];

static inline uint32_t descriptor_entry(int fd)
{
	return (unsigned)fd < DESCRIPTORS_MAX ? __atomic_load_n(&descriptor_table[fd], __ATOMIC_RELAXED) : 0;
}
static inline enum descriptor_kind descriptor_kind(uint32_t entry)
{
	return (enum descriptor_kind)(entry >> 24);
}
static inline uint32_t descriptor_index(uint32_t entry)
{
	return entry & DESCRIPTOR_INDEX_MASK;
}
void descriptor_set(int fd, enum descriptor_kind kind, uint32_t index);

/* Highest descriptor ever entered, for walks over the table. */
int descriptor_highest(void);

/* Moves `fd` up, out of the program's way, makes it close-on-exec, and enters it as Byway's own.
 * Returns the new number, or a negative errno (then `fd` is closed). A negative `fd` is returned as it is. */
int descriptor_own(long fd);
void descriptor_own_close(int fd);

/* How many descriptors select(2) looks at for a program that asks for `count`: no more than the program's table would have,
 * which need not be as large as Byway's own high numbers have made it. (Old programs ask for getdtablesize(3), with sets that
 * are smaller.) */
int descriptor_select_count(int count);

/* A new program would have `fd`: it is open, and not close-on-exec. */
int descriptor_is_inherited(int fd);
/* Over exec: `fd`, Byway's own, stays open in the new image, or no longer does. */
void descriptor_own_passes(int fd, int passes);
/* In the new image: `fd` came from the old one and is Byway's own. */
void descriptor_own_found(int fd);
/* Numbers where a new image looks for what the old one left, just below Byway's own: from the result up to *above. */
int descriptor_left_numbers(int *above);

#endif
