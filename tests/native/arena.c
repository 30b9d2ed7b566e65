/* What a live program's arena says: one JSON object on stdout. `arena PID`.
 *
 * A reader of csrc/shm/layout.h that shares nothing with the product's own tools, so that tests can check those too. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/layout.h"

static const char *const counter_names[SHM_COUNTERS_MAX] = {
#define COUNTER(index, name, text) [index] = #name,
#include "shm/counters.def"
#undef COUNTER
};

static const char *const reason_names[] = {
#define REASON(code, name, text) [code] = #name,
#include "shm/reasons.def"
#undef REASON
};

static const char *const state_names[] = {"free", "open", "listen", "offered", "joined", "attached", "never"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct shm_arena *map_arena(const char *pid)
{
	char path[320], target[256];
	struct dirent *entry;
	DIR *directory;
	struct stat status;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%.20s", pid, entry->d_name);
		ssize_t length = readlink(path, target, sizeof(target) - 1);
		if (length <= 0)
			continue;
		target[length] = 0;
		if (!strstr(target, "memfd:byway.arena"))
			continue;
		int file = open(path, O_RDONLY | O_CLOEXEC);
		if (file < 0 || fstat(file, &status) || (size_t)status.st_size < sizeof(struct shm_arena))
			continue;
		void *memory = mmap(NULL, sizeof(struct shm_arena), PROT_READ, MAP_SHARED, file, 0);
		if (memory != MAP_FAILED)
			return memory;
	}
	return NULL;
}

static void print_sockets(const struct shm_arena *arena)
{
	const char *comma = "";

	for (uint32_t index = 0; index < arena->socket_high && index < SHM_SOCKETS_MAX; index++) {
		const struct shm_socket *socket = &arena->sockets[index];
		if (socket->state == SHM_SOCKET_FREE)
			continue;
		printf("%s{\"index\":%u,\"state\":\"%s\",\"reason\":\"%s\",\"descriptor\":%u,\"cookie\":%" PRIu64
		       ",\"ring_sent_bytes\":%" PRIu64 ",\"ring_received_bytes\":%" PRIu64 "}",
		       comma, index, socket->state < COUNT(state_names) ? state_names[socket->state] : "?",
		       socket->reason < COUNT(reason_names) ? reason_names[socket->reason] : "?", socket->descriptor,
		       socket->cookie, socket->ring_sent_bytes + socket->last_ring_sent_bytes,
		       socket->ring_received_bytes + socket->last_ring_received_bytes);
		comma = ",";
	}
}

int main(int argc, char **argv)
{
	const struct shm_arena *arena = argc == 2 ? map_arena(argv[1]) : NULL;

	if (!arena || arena->magic != SHM_MAGIC_ARENA) {
		printf("null\n");
		return 0;
	}
	printf("{\"counters\":{");
	for (size_t index = 0, first = 1; index < SHM_COUNTERS_MAX; index++) {
		if (!counter_names[index])
			continue;
		printf("%s\"%s\":%" PRIu64, first ? "" : ",", counter_names[index], arena->counters[index]);
		first = 0;
	}
	printf("},\"sockets\":[");
	print_sockets(arena);
	printf("]}\n");
	return 0;
}
