/* Starts and ends the library in a process. */
#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/options.h"
#include "interpose/fork.h"
#include "interpose/image.h"
#include "interpose/interpose.h"
#include "sock/passport.h"
#include "wait/epoll.h"
#include "wait/signal.h"

/* A program that is short of memory gets back what was had in vain. */
static void give_up(int error)
{
	epoll_stop();
	sock_stop();
	log_line(LOG_WHY, "no shared memory could be made (error %d): everything stays with the kernel", -error);
}

void interpose_start(void)
{
	static uint32_t state; /* 0, 1 starting, 2 started */
	uint32_t expected = 0;
	int error;

	if (likely(load_acquire(&state) == 2))
		return;
	if (!compare_swap(&state, &expected, 1))
		return;
	clock_start();
	options_start();
	crash_start();
	signal_guard_copies();
	image_start();
	error = fork_start();
	if (!error && options.enabled)
		error = sock_start();
	if (!error && options.enabled)
		error = epoll_start();
	if (options.enabled && !passport_take(!error) && !error)
		error = arena_start();
	if (error)
		give_up(error);
	store_release(&state, 2);
}

__attribute__((constructor)) static void start(void)
{
	interpose_start();
}

__attribute__((destructor)) static void end(void)
{
	if (!thread.vforked)
		sock_all_exit();
}
