/* What the rest of this folder needs of fork.c. */
#ifndef BYWAY_INTERPOSE_FORK_H
#define BYWAY_INTERPOSE_FORK_H

/* Registers with libc; once, when the library starts. 0 or a negative errno: then nothing may be accelerated. */
int fork_start(void);

/* syscall(2) of SYS_clone and SYS_clone3 with these arguments: a fork, where the process has memory of its own. As the
 * program's own call, errno too. */
long fork_by_clone(const long *arguments);
long fork_by_clone3(const long *arguments);

#endif
