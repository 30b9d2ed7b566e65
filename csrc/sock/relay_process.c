/* What a forked process gives up to be a relay: signals, session, folder, name, descriptors, memory.
 * Called once, by relay_pump.c, in the new process: one thread, no lock. Neither malloc nor stdio may be used from here on:
 * what they live by is given up. */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/options.h"
#include "base/sys.h"
#include "sock/relay.h"

#define SIGNALS 64
#define KEPT_MAX (SHM_REGIONS_MAX + SHM_BELLS_MAX + 8)
#define SHED_BYTES_MIN (1u << 20) /* smaller mappings are not worth a thought, and libraries live in them */
#define LINE_BYTES_MAX 512

/* -- signals, session, name ------------------------------------------------------------------------------------------------ */

static void signals_default(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = {.handler = SIG_DFL};
	uint64_t none = 0;

	for (int number = 1; number <= SIGNALS; number++) {
		action.handler = number == SIGPIPE ? SIG_IGN : SIG_DFL;
		SYS4(SYS_rt_sigaction, number, &action, 0, sizeof(none));
	}
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof(none));
}

static void become_somebody(void)
{
	thread.id = 0;
	thread.held_back = 0;
	thread.vforked = 0;
	store_relaxed(&options.log, -1); /* descriptor 2 is not ours */
	signals_default();
	SYS0(SYS_setsid);
	SYS1(SYS_chdir, "/");
	SYS2(SYS_prctl, PR_SET_NAME, "byway-relay");
}

/* -- descriptors ------------------------------------------------------------------------------------------------------------- */

/* Into a sorted array. */
static void keep(int *kept, int *count, int fd)
{
	int at = *count;

	if (fd < 0)
		return;
	while (at > 0 && kept[at - 1] > fd) {
		kept[at] = kept[at - 1];
		at--;
	}
	kept[at] = fd;
	(*count)++;
}

/* All but the two sockets, what rings the peer, and what the tools find the shared memory by. */
static void close_others(const struct pair *pair, int old, int link)
{
	int kept[KEPT_MAX], count = 0, from = 0;

	keep(kept, &count, old);
	keep(kept, &count, link);
	keep(kept, &count, arena_fd);
	keep(kept, &count, pair->peer_fd);
	for (uint32_t r = 0; r < pair->regions_count; r++)
		if (pair->regions[r].map)
			keep(kept, &count, pair->regions[r].fd);
	for (uint32_t k = 0; k < pair->peer_bells_count; k++)
		keep(kept, &count, pair->peer_bells[k]);
	for (int i = 0; i < count; i++) {
		if (kept[i] > from)
			SYS3(SYS_close_range, from, kept[i] - 1, 0);
		from = kept[i] + 1;
	}
	SYS3(SYS_close_range, from, ~0u, 0);
}

/* -- memory: a relay must not keep that of a large program alive ---------------------------------------------------------------- */

struct mapping {
	uint64_t start, end;
	int is_writable, is_shared, is_file, is_library;
};

static const char *read_hex(const char *at, uint64_t *value)
{
	for (*value = 0;; at++) {
		if (*at >= '0' && *at <= '9')
			*value = *value * 16 + (uint64_t)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			*value = *value * 16 + (uint64_t)(*at - 'a' + 10);
		else
			return at;
	}
}

/* A line of /proc/self/maps: "start-end rwxp offset device inode   path". What follows a library's file without a gap is its
 * data too. 0: no such line. */
static int parse(const char *line, struct mapping *mapping)
{
	const struct mapping before = *mapping;
	const char *at = read_hex(line, &mapping->start);

	if (*at != '-')
		return 0;
	at = read_hex(at + 1, &mapping->end);
	if (strlen(at) < 5)
		return 0;
	mapping->is_writable = at[2] == 'w';
	mapping->is_shared = at[4] == 's';
	mapping->is_file = strchr(at, '/') != NULL;
	mapping->is_library = mapping->is_file ? strstr(at, ".so") != NULL
	                                       : before.is_library && before.end == mapping->start && !strchr(at, '[');
	return 1;
}

static int is_worth_it(const struct mapping *mapping)
{
	return mapping->is_writable && !mapping->is_library && mapping->end - mapping->start >= SHED_BYTES_MIN;
}

static int has(const struct mapping *mapping, const void *address)
{
	return (uint64_t)(uintptr_t)address >= mapping->start && (uint64_t)(uintptr_t)address < mapping->end;
}

/* &arena and &options stand for our .bss and .data. */
static int is_needed(const struct mapping *mapping, const struct sock *sock)
{
	const struct pair *pair = sock->end.pair;

	if (has(mapping, &mapping) || has(mapping, &thread) || has(mapping, arena) || has(mapping, sock) ||
	    has(mapping, pairs) || has(mapping, pair->sockets) || has(mapping, &arena) || has(mapping, &options))
		return 1;
	for (uint32_t r = 0; r < pair->regions_count; r++)
		if (pair->regions[r].map && has(mapping, pair->regions[r].map))
			return 1;
	return 0;
}

static void shed(const struct mapping *mapping)
{
	if (mapping->is_shared)
		SYS2(SYS_munmap, mapping->start, mapping->end - mapping->start);
	else if (!mapping->is_file) /* zeros are left, should anything look there after all */
		SYS3(SYS_madvise, mapping->start, mapping->end - mapping->start, MADV_DONTNEED);
}

static void shed_memory(const struct sock *sock)
{
	struct mapping mapping = {.start = 0};
	char text[LINE_BYTES_MAX + 1];
	size_t have = 0;
	long fd = SYS3(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0), bytes;

	while (fd >= 0 && (bytes = sys_read((int)fd, text + have, LINE_BYTES_MAX - have)) > 0) {
		char *line = text, *end;

		have += (size_t)bytes;
		text[have] = 0;
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = 0;
			if (parse(line, &mapping) && is_worth_it(&mapping) && !is_needed(&mapping, sock))
				shed(&mapping);
		}
		have -= (size_t)(line - text);
		if (have == LINE_BYTES_MAX) /* a path without end */
			have = 0;
		memmove(text, line, have);
	}
	sys_close((int)fd);
}

/* -- the whole --------------------------------------------------------------------------------------------------------------------- */

void relay_process_begin(struct sock *sock, int old, int link, uint32_t process)
{
	become_somebody();
	close_others(sock->end.pair, old, link);
	arena_child_start(process);
	pair_all_inherited();
	sock_hooks = (struct sock_hooks){0}; /* their lock is held for good */
	sock->gate = GATE_ENGINE;
	sock->descriptors = 1;
	sock->shared->owner = process;
	sock->shared->descriptor = (uint32_t)old;
	store_release(&sock->shared->reason, reason_relayed);
	shed_memory(sock);
}
