/* Who a process is: identity that survives the reuse of process ids. Any thread, any signal handler. */
#ifndef BYWAY_BASE_PROCESS_H
#define BYWAY_BASE_PROCESS_H

#include <stdint.h>

#define PROCESS_STATE_GONE 0 /* no such process or thread, or a zombie */

/* Field 22 of /proc/ID/stat (clock ticks since boot); 0 when unknown. *state (may be NULL): its letter, or GONE. */
uint64_t process_start_time(long id, char *state);

#endif
