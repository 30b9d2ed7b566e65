/* The copies of base/copy.S in C, so that ThreadSanitizer sees which bytes of a ring each thread reads and writes. Linked
 * in its place by tests/sanitize only: a bad pointer is a crash here. */
#include <string.h>

#include "base/copy.h"

const char copy_guarded_begin[1], copy_guarded_end[1], copy_guarded_fault[1];

int copy_guarded(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
	return 0;
}
