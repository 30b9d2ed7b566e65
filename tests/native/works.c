/* csrc/stack/work.c under many threads: each makes work for its socket and leaves it, the holder sees it, and now and then somebody
 * needs the lock himself. `works THREADS PIECES` ends with 0 when no two held the lock at once and no work was left undone. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "stack/work.h"

enum {
	THREADS_MAX = 16,
	HOLD_EVERY = 7
};

static struct work work;
static struct work_node nodes[THREADS_MAX];
static _Atomic unsigned made[THREADS_MAX];
static unsigned done[THREADS_MAX], holders; /* under the lock */
static unsigned threads, pieces;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void hold(void)
{
	if (holders++)
		fail("two hold the lock");
}

static void serve(void *of, uint32_t index)
{
	(void)of;
	hold();
	done[index] = made[index];
	holders--;
}

static void *make_work(void *number)
{
	unsigned me = (unsigned)(uintptr_t)number;

	for (unsigned i = 0; i < pieces; i++) {
		made[me]++;
		work_leave(&work, nodes, me, serve, NULL);
		if (i % HOLD_EVERY == me % HOLD_EVERY) {
			work_hold(&work);
			hold();
			holders--;
			work_release(&work, nodes, serve, NULL);
		}
	}
	return NULL;
}

int main(int count, char **words)
{
	pthread_t ids[THREADS_MAX];

	threads = count == 3 ? (unsigned)atoi(words[1]) : 0;
	pieces = count == 3 ? (unsigned)atoi(words[2]) : 0;
	if (!threads || threads > THREADS_MAX)
		fail("works THREADS PIECES");
	work_make(&work, nodes, THREADS_MAX);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, make_work, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	for (unsigned i = 0; i < threads; i++)
		if (done[i] != pieces)
			fail("work was left undone");
	return 0;
}
