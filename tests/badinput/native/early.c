/* A library whose constructor registers a handler for forked children, which installs a signal's handler. The program is
 * linked with it, so its constructor runs before that of a preloaded library. */
#include <pthread.h>
#include <signal.h>

static void in_child(void)
{
	signal(SIGCHLD, SIG_DFL);
}

__attribute__((constructor)) static void early(void)
{
	pthread_atfork(NULL, NULL, in_child);
}
