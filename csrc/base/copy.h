/* Copies between a program's buffer and a ring. A bad pointer gives -1 (EFAULT), not a crash: fault_handle recognises
 * the copy by its address range. Bytes before the fault may have been copied; nothing was published.
 * Any thread, any signal handler. */
#ifndef BYWAY_BASE_COPY_H
#define BYWAY_BASE_COPY_H

#include <stddef.h>

/* 0, or -1 when a page could not be read or written. */
int copy_guarded(void *to, const void *from, size_t bytes);

extern const char copy_guarded_begin[];
extern const char copy_guarded_end[];
extern const char copy_guarded_fault[];

#endif
