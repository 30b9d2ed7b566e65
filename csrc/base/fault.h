/* EFAULT instead of a crash: recognises a fault inside copy_guarded. Signal-safe. */
#ifndef BYWAY_BASE_FAULT_H
#define BYWAY_BASE_FAULT_H

/* `context` is the ucontext of SIGSEGV or SIGBUS. 1: the copy will return -1; 0: the fault is the program's own. */
int fault_handle(void *context);

#endif
