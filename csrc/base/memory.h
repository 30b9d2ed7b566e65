/* Sealed shared memory without a name. */
#ifndef BYWAY_BASE_MEMORY_H
#define BYWAY_BASE_MEMORY_H

#include <stddef.h>

/* A memfd of `bytes`, sealed against changes of its size, among Byway's own descriptors. `reserve`: all its memory is
 * allocated now, so that a full machine is an error here and no SIGBUS later. A negative errno when it cannot be made;
 * -EFBIG where RLIMIT_FSIZE forbids it (the kernel would send SIGXFSZ). Any thread. */
int memory_make(const char *name, size_t bytes, int reserve);

/* Private zeroed memory, touched as it is used; NULL when there is none. */
void *memory_private(size_t bytes);
/* Gives it back; NULL is nothing. The result is NULL. */
void *memory_release(void *memory, size_t bytes);

#endif
