/* Sleepers without a bell of the pair. They wait in poll(2) for the file that their descriptor was when they went to sleep;
 * where a relay's connection takes its place (relay.c), poll neither waits for the new one nor shows the old. So they sleep
 * on a bell of the process too, which is rung then until all of them have looked again.
 * Called by wait/ and by relay.c, by any thread, also in a forked child, which shares the bell: a ring too many does no
 * harm. */
#include "base/sys.h"
#include "sock/sock.h"

#define PAUSE_NS 100000
#define RINGS_MAX 1000 /* 100 ms: a thread may have been cancelled in its sleep */
#define NO_BELL (-1)

static int bell = NO_BELL;

static int bell_of_process(void)
{
	int made = load_acquire(&bell), expected = NO_BELL;

	if (likely(made >= 0))
		return made;
	made = bell_make();
	if (made < 0)
		return NO_BELL;
	if (compare_swap(&bell, &expected, made))
		return made;
	descriptor_own_close(made); /* another thread was quicker */
	return expected;
}

int sock_bare_sleep_begins(struct sock *sock)
{
	int fd = bell_of_process();

	if (fd < 0)
		return fd;
	fetch_add(&sock->bare_sleepers, 1);
	if (likely(!local_is_relayed(&sock->end)))
		return fd;
	fetch_add(&sock->bare_sleepers, -1u);
	return NO_BELL;
}

void sock_bare_sleep_ends(struct sock *sock, int begun)
{
	if (begun >= 0)
		fetch_add(&sock->bare_sleepers, -1u);
}

void sock_wake_bare_sleepers(struct sock *sock)
{
	struct timespec pause = {0, PAUSE_NS};
	int fd = load_acquire(&bell);

	cpu_fence(); /* it is the relay's; then who sleeps */
	for (int rings = 0; fd >= 0 && rings < RINGS_MAX && load_acquire(&sock->bare_sleepers); rings++) {
		bell_ring(fd);
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
	}
	if (fd >= 0)
		bell_empty(fd);
}
