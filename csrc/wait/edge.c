/* The kernel takes an edge from a set's ready list only when epoll_wait(2) gives it out. So edge_take asks the set for all
 * that is ready, and puts back what is not wanted: level-triggered events come again of themselves; descriptors that are
 * edge-triggered or one-shot are registered once more as the set's fdinfo (proc(5)) showed them before.
 * Slow (the fdinfo of a large set is long), and called only when a watched socket goes into the kernel or out of this
 * process. Caller: set_edge.c, under the lock of the sets. */
#define _GNU_SOURCE
#include "wait/edge.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"

#define REGISTRATIONS_MAX 262144
#define REGISTRATIONS_BYTES (REGISTRATIONS_MAX * sizeof(struct registration))
#define MODES_THAT_FORGET (EPOLLET | EPOLLONESHOT)
#define ASKED_AT_ONCE 64
#define TURNS_MAX 1024

struct registration {
	uint64_t data;
	uint32_t events;
	int fd;
};

/* All of a set's edge-triggered and one-shot registrations. */
struct registrations {
	struct registration *first;
	uint32_t count;
	uint32_t with_data; /* of all registrations: those with the data that is looked for */
};

/* -- fdinfo --------------------------------------------------------------------------------------------------------------- */

static char *put_decimal(char *to, unsigned value)
{
	if (value > 9)
		to = put_decimal(to, value / 10);
	*to++ = (char)('0' + value % 10);
	*to = 0;
	return to;
}

static long fdinfo_open(int set)
{
	char path[64] = "/proc/thread-self/fdinfo/";

	put_decimal(path + strlen(path), (unsigned)set);
	return SYS3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
}

/* The number behind `name` in `line`; `base` 10 or 16. 0: not there. */
static int number_of(const char *line, const char *name, unsigned base, uint64_t *value)
{
	const char *at = strstr(line, name);

	if (!at)
		return 0;
	at += strlen(name);
	while (*at == ' ')
		at++;
	for (*value = 0;; at++) {
		unsigned digit = *at >= 'a' ? (unsigned)(*at - 'a') + 10 : (unsigned)(*at - '0');

		if (digit >= base)
			return 1;
		*value = *value * base + digit;
	}
}

/* 0: the line is not to be understood, or there are too many. */
static int note_line(const char *line, uint64_t wanted, struct registrations *found)
{
	uint64_t fd, events, data;

	if (strncmp(line, "tfd:", 4) != 0)
		return 1;
	if (!number_of(line, "tfd:", 10, &fd) || !number_of(line, "events:", 16, &events) ||
	    !number_of(line, "data:", 16, &data))
		return 0;
	found->with_data += data == wanted;
	if (!(events & MODES_THAT_FORGET))
		return 1;
	if (found->count == REGISTRATIONS_MAX)
		return 0;
	found->first[found->count++] = (struct registration){.data = data, .events = (uint32_t)events, .fd = (int)fd};
	return 1;
}

/* 1: all lines were noted. */
static int read_lines(int fdinfo, uint64_t wanted, struct registrations *found)
{
	char text[4096];
	size_t have = 0;
	long got;

	while ((got = sys_read(fdinfo, text + have, sizeof(text) - 1 - have)) > 0) {
		char *line = text, *end;

		have += (size_t)got;
		text[have] = 0;
		for (; (end = memchr(line, '\n', have - (size_t)(line - text))); line = end + 1) {
			*end = 0;
			if (!note_line(line, wanted, found))
				return 0;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
	return got == 0 && !have;
}

static int registrations_read(int set, uint64_t wanted, struct registrations *found)
{
	long fdinfo = fdinfo_open(set);
	int done;

	if (fdinfo < 0)
		return 0;
	done = read_lines((int)fdinfo, wanted, found);
	sys_close((int)fdinfo);
	return done;
}

/* -- taking --------------------------------------------------------------------------------------------------------------- */

long edge_register(int set, int fd, struct epoll_event event)
{
	if (!(event.events & EPOLLEXCLUSIVE))
		return sys_epoll_ctl(set, EPOLL_CTL_MOD, fd, &event);
	sys_epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
	return sys_epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

static void put_back(int set, const struct registrations *all, uint64_t data)
{
	for (uint32_t i = 0; i < all->count; i++) {
		const struct registration *at = &all->first[i];

		if (at->data == data)
			edge_register(set, at->fd, (struct epoll_event){.events = at->events, .data.u64 = data});
	}
}

static enum edge take(int set, const struct registrations *all, uint64_t wanted)
{
	struct epoll_event events[ASKED_AT_ONCE];
	enum edge found = EDGE_NONE;

	for (int turns = 0; turns < TURNS_MAX && found == EDGE_NONE; turns++) {
		long got = sys_epoll_wait(set, events, ASKED_AT_ONCE, 0);

		for (long i = 0; i < got; i++) {
			if (events[i].data.u64 == wanted)
				found = EDGE_TAKEN;
			else
				put_back(set, all, events[i].data.u64);
		}
		if (got < ASKED_AT_ONCE)
			break;
	}
	return found;
}

enum edge edge_take(int set, uint64_t data)
{
	struct registrations all = {.count = 0};
	enum edge result = EDGE_UNKNOWN;

	all.first =
		mmap(NULL, REGISTRATIONS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all.first == MAP_FAILED)
		return EDGE_UNKNOWN;
	if (registrations_read(set, data, &all) && all.with_data == 1)
		result = take(set, &all, data);
	munmap(all.first, REGISTRATIONS_BYTES);
	return result;
}
