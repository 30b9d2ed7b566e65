/* A preload library with one fault, so that the tests can be tested: each must be found. FAULT in the environment:
 * lost_byte, doubled_byte, early_end, lost_reset, wrong_errno, hang, left_process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fault_is(const char *name)
{
	const char *fault = getenv("FAULT");

	return fault && strcmp(fault, name) == 0;
}

static ssize_t next_recv(int descriptor, void *data, size_t bytes, int flags)
{
	ssize_t (*next)(int, void *, size_t, int) = dlsym(RTLD_NEXT, "recv");

	return next(descriptor, data, bytes, flags);
}

ssize_t recv(int descriptor, void *data, size_t bytes, int flags)
{
	static int calls;
	static char last;
	char dropped;
	ssize_t got;

	calls++;
	if (fault_is("lost_byte") && calls == 100)
		next_recv(descriptor, &dropped, 1, flags);
	if (fault_is("doubled_byte") && calls == 100 && bytes > 0) {
		*(char *)data = last;
		return 1;
	}
	if (fault_is("early_end") && calls == 100)
		return 0;
	if (fault_is("hang") && calls == 100)
		poll(NULL, 0, -1);
	if (fault_is("left_process") && calls == 1 && fork() == 0) {
		poll(NULL, 0, 7000);
		_exit(0);
	}
	got = next_recv(descriptor, data, bytes, flags);
	if (got > 0)
		last = ((char *)data)[got - 1];
	if (got < 0 && errno == ECONNRESET && fault_is("lost_reset"))
		return 0;
	if (got < 0 && errno == ECONNRESET && fault_is("wrong_errno"))
		errno = ENOTCONN;
	return got;
}
