/* Who a process is, and whether it is gone: identity that survives the reuse of process ids. What cannot be found out
 * (no descriptor free, no /proc, another user's) counts as alive. Ids are those of this process's own process-id
 * namespace. Any thread, any signal handler. */
#ifndef BYWAY_BASE_PROCESS_H
#define BYWAY_BASE_PROCESS_H

#include <stdint.h>

/* Field 22 of /proc/ID/stat (clock ticks since boot, proc(5)); 0 when unknown. */
uint64_t process_start_time(long id);

/* The process is gone, or another one than that which began at `start_time` (0: not known) has its id. A process whose
 * first thread has ended lives as long as another of its threads. */
int process_is_gone(long id, uint64_t start_time);

/* No such thread any more. */
int process_thread_is_gone(long thread);

/* The process `id` is gone, or its first thread is past the point of no return: its descriptors may be closed already, before
 * its pidfd tells of its end. 0 also where that is not known. */
int process_is_ending(long id);

/* 1 when every user of the machine has the same id here as everywhere: this process is in no user namespace that leaves some out,
 * who would all show as the overflow user (user_namespaces(7)). 0 also where that is not known. */
int process_knows_all_users(void);

#endif
