/* Makes the arena, and hands out process and socket slots by compare-and-swap. Slots of dead processes are taken back
 * when slots run short. */
#include "shm/arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/descriptor.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/sys.h"

#define CHILD_PENDING UINT64_MAX /* owner of a slot whose process is being forked */

struct shm_arena *arena;
uint32_t arena_process = ARENA_NONE;
int arena_fd = -1;

static uint64_t own_start_time;

static const char *const reason_texts[] = {
#define REASON(code, name, text) [code] = text,
#include "shm/reasons.def"
#undef REASON
};

const char *arena_reason_text(uint32_t reason)
{
	return reason < sizeof(reason_texts) / sizeof(*reason_texts) ? reason_texts[reason] : "";
}

static uint64_t pid_namespace(void)
{
	struct stat status;

	return SYS4(SYS_newfstatat, AT_FDCWD, "/proc/self/ns/pid", &status, 0) ? 0 : status.st_ino;
}

static void process_fill(uint32_t process)
{
	struct shm_process *slot = &arena->processes[process];
	long fd = SYS3(SYS_open, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);

	memset(slot->name, 0, sizeof(slot->name));
	if (fd >= 0) {
		long bytes = sys_read((int)fd, slot->name, sizeof(slot->name) - 1);

		if (bytes > 0 && slot->name[bytes - 1] == '\n')
			slot->name[bytes - 1] = 0;
		sys_close((int)fd);
	}
	slot->pidns = pid_namespace();
	own_start_time = process_start_time(sys_getpid());
	slot->start_time = own_start_time;
	store_release(&slot->owner, (uint64_t)sys_getpid());
}

static int is_living_or_dead(uint64_t owner)
{
	return owner && owner != CHILD_PENDING;
}

static int is_one_namespace(void)
{
	if (!arena || arena_process == ARENA_NONE)
		return 1;
	for (uint32_t p = 0; p < SHM_PROCESSES_MAX; p++)
		if (is_living_or_dead(load_acquire(&arena->processes[p].owner)) &&
		    arena->processes[p].pidns != arena->processes[arena_process].pidns)
			return 0;
	return 1;
}

int arena_start(void)
{
	struct shm_arena *map;
	int fd = memory_make("byway.arena", sizeof(struct shm_arena), 0);

	if (fd < 0)
		return fd;
	map = mmap(NULL, sizeof(struct shm_arena), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		descriptor_own_close(fd);
		return -ENOMEM;
	}
	arena_fd = fd;
	map->abi_hash = BYWAY_ABI_HASH;
	map->creator = (uint64_t)sys_getpid();
	map->created_ns = clock_now_ns();
	map->sockets_max = SHM_SOCKETS_MAX;
	map->processes_max = SHM_PROCESSES_MAX;
	arena = map;
	process_fill(0);
	arena_process = 0;
	lock_owners_are_known = is_one_namespace;
	store_release(&map->magic, SHM_MAGIC_ARENA);
	return 0;
}

static int is_sound(const struct shm_arena *map, uint32_t process)
{
	return map->magic == SHM_MAGIC_ARENA && map->abi_hash == BYWAY_ABI_HASH &&
	       map->processes[process].owner == (uint64_t)sys_getpid();
}

int arena_adopt(int fd, uint32_t process)
{
	long seals = sys_fcntl(fd, F_GET_SEALS, 0), end = SYS3(SYS_lseek, fd, 0, 2 /* SEEK_END */);
	struct shm_arena *map;

	if (process >= SHM_PROCESSES_MAX || seals < 0 || !(seals & F_SEAL_SHRINK) || end != (long)sizeof(*map))
		return -EPROTO;
	map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	if (!is_sound(map, process)) {
		munmap(map, sizeof(*map));
		return -EPROTO;
	}
	arena_fd = fd;
	arena = map;
	arena_process = process;
	lock_owners_are_known = is_one_namespace;
	process_fill(process);
	return 0;
}

int arena_is_of_this_process(void)
{
	return arena && arena_process != ARENA_NONE &&
	       load_acquire(&arena->processes[arena_process].owner) == (uint64_t)sys_getpid();
}

void arena_exec_begins(void)
{
	store_release(&arena->processes[arena_process].start_time, 1);
}

void arena_exec_failed(void)
{
	store_release(&arena->processes[arena_process].start_time, own_start_time);
}

static void holder_set(struct shm_socket *socket, uint32_t process)
{
	fetch_or(&socket->holders[process / 64], 1ull << process % 64);
}

static int holder_clear(struct shm_socket *socket, uint32_t process)
{
	uint64_t left;

	fetch_and(&socket->holders[process / 64], ~(1ull << process % 64));
	left = 0;
	for (int i = 0; i < 4; i++)
		left |= load_acquire(&socket->holders[i]);
	return left == 0;
}

static void socket_free(struct shm_socket *socket)
{
	memset((char *)socket + sizeof(socket->state), 0, sizeof(*socket) - sizeof(socket->state));
	store_release(&socket->state, SHM_SOCKET_FREE);
}

/* In another process-id namespace an id means another process: who lives there counts as alive. */
int arena_process_is_gone(uint32_t process)
{
	const struct shm_process *slot = &arena->processes[process];
	uint64_t owner = load_acquire(&slot->owner);

	return is_living_or_dead(owner) && slot->pidns == arena->processes[arena_process].pidns &&
	       process_is_gone((long)owner, slot->start_time);
}

/* Frees what only dead processes hold. Rare: when slots ran out. */
static void reclaim_dead(void)
{
	for (uint32_t p = 0; p < SHM_PROCESSES_MAX; p++) {
		struct shm_process *slot = &arena->processes[p];

		if (p == arena_process || !arena_process_is_gone(p))
			continue;
		for (uint32_t s = 0; s < load_acquire(&arena->socket_high); s++)
			if (arena_socket_holds(s, p) && holder_clear(&arena->sockets[s], p))
				socket_free(&arena->sockets[s]);
		store_release(&slot->owner, 0);
	}
}

static uint32_t socket_find_free(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		uint32_t expected = SHM_SOCKET_FREE;

		if (load_relaxed(&arena->sockets[i].state) == SHM_SOCKET_FREE &&
		    compare_swap(&arena->sockets[i].state, &expected, SHM_SOCKET_OPEN))
			return i;
	}
	return ARENA_NONE;
}

static uint32_t socket_claim(void)
{
	static uint32_t hint;
	uint32_t high = load_acquire(&arena->socket_high);
	uint32_t start = load_relaxed(&hint) % (high + 1);
	uint32_t room = high + 64 > SHM_SOCKETS_MAX ? SHM_SOCKETS_MAX : high + 64;
	uint32_t found = socket_find_free(start, room);

	if (found == ARENA_NONE)
		found = socket_find_free(0, start);
	while (found != ARENA_NONE && found >= high && !compare_swap(&arena->socket_high, &high, found + 1))
		;
	if (found != ARENA_NONE)
		store_relaxed(&hint, found + 1);
	return found;
}

uint32_t arena_socket_new(void)
{
	uint32_t index;

	if (!arena || arena_process == ARENA_NONE)
		return ARENA_NONE;
	index = socket_claim();
	if (index == ARENA_NONE) {
		reclaim_dead();
		index = socket_claim();
	}
	if (index == ARENA_NONE)
		return ARENA_NONE;
	arena->sockets[index].owner = arena_process;
	arena->sockets[index].reason = reason_not_yet;
	holder_set(&arena->sockets[index], arena_process);
	return index;
}

int arena_socket_leave(uint32_t index)
{
	struct shm_socket *socket = &arena->sockets[index];

	if (arena_process == ARENA_NONE || !holder_clear(socket, arena_process))
		return 0;
	socket_free(socket);
	return 1;
}

int arena_socket_holds(uint32_t index, uint32_t process)
{
	return (load_acquire(&arena->sockets[index].holders[process / 64]) >> process % 64) & 1;
}

int arena_knows_cookie(uint64_t cookie)
{
	for (uint32_t i = 0; i < load_acquire(&arena->socket_high) && i < SHM_SOCKETS_MAX; i++)
		if (load_acquire(&arena->sockets[i].state) != SHM_SOCKET_FREE && arena->sockets[i].cookie == cookie)
			return 1;
	return 0;
}

int arena_socket_is_sole_holder(uint32_t index)
{
	uint64_t others = 0;

	if (arena_process == ARENA_NONE)
		return 0;
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t word = load_acquire(&arena->sockets[index].holders[i]);

		others |= i == arena_process / 64 ? word & ~(1ull << arena_process % 64) : word;
	}
	return others == 0;
}

void arena_socket_hold_alone(uint32_t index)
{
	for (uint32_t i = 0; i < 4; i++)
		store_release(&arena->sockets[index].holders[i], i == arena_process / 64 ? 1ull << arena_process % 64 : 0);
}

static uint32_t process_claim(void)
{
	for (uint32_t p = 0; p < SHM_PROCESSES_MAX; p++) {
		uint64_t expected = 0;

		if (compare_swap(&arena->processes[p].owner, &expected, CHILD_PENDING)) {
			arena->processes[p].pidns = 0; /* not those of an earlier owner */
			arena->processes[p].start_time = 0;
			return p;
		}
	}
	return ARENA_NONE;
}

static uint32_t child_claim(void)
{
	uint32_t child;

	if (!arena || arena_process == ARENA_NONE)
		return ARENA_NONE;
	child = process_claim();
	if (child == ARENA_NONE) {
		reclaim_dead();
		child = process_claim();
	}
	return child;
}

uint32_t arena_child_prepare_for(uint32_t index)
{
	uint32_t child = child_claim();

	if (child != ARENA_NONE)
		holder_set(&arena->sockets[index], child);
	return child;
}

uint32_t arena_child_prepare(void)
{
	uint32_t child = child_claim();

	for (uint32_t s = 0; child != ARENA_NONE && s < load_acquire(&arena->socket_high); s++)
		if (arena_socket_holds(s, arena_process))
			holder_set(&arena->sockets[s], child);
	return child;
}

void arena_child_start(uint32_t process)
{
	arena_process = process;
	if (arena && process != ARENA_NONE)
		process_fill(process);
}

void arena_child_known(uint32_t process, long id)
{
	struct shm_process *slot = &arena->processes[process];
	uint64_t no_pidns = 0, no_time = 0, pending = CHILD_PENDING;

	if (process == ARENA_NONE || load_acquire(&slot->owner) != CHILD_PENDING)
		return;
	/* The child may do the same at this moment, and knows better. */
	compare_swap(&slot->pidns, &no_pidns, arena->processes[arena_process].pidns);
	compare_swap(&slot->start_time, &no_time, process_start_time(id));
	compare_swap(&slot->owner, &pending, (uint64_t)id);
}

void arena_child_failed(uint32_t process)
{
	if (process == ARENA_NONE)
		return;
	for (uint32_t s = 0; s < load_acquire(&arena->socket_high); s++)
		if (arena_socket_holds(s, process) && holder_clear(&arena->sockets[s], process))
			socket_free(&arena->sockets[s]);
	store_release(&arena->processes[process].owner, 0);
}
