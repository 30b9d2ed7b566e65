/* dlsym with a clear death: without libc's function the program cannot go on. */
#define _GNU_SOURCE
#include "base/real.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "base/log.h"

void *real_find_optional(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

void *real_find(const char *name)
{
	void *found = real_find_optional(name);

	if (!found) {
		log_line(LOG_ALWAYS, "libc has no function %s; run the program without Byway", name);
		abort();
	}
	return found;
}
