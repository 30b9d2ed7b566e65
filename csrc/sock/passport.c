/* Writes and reads the passport. Written by the one thread that execs, under sock_hold_still and the locks of all ends that
 * pass; read by the new image's first thread. Everything in it is checked: the descriptor may be anybody's. */
#include "sock/passport.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/sys.h"
#include "local/pass.h"

#define PASSPORT_MAGIC 0x7373617079617762 /* "bwaypass" */
#define DESCRIPTORS_PASSED_MAX 65536

/* One descriptor of a socket. They follow the head, so that a library that understands nothing else can find them. */
struct passport_descriptor {
	uint64_t cookie;
	int32_t fd;
	uint32_t socket; /* index */
};

/* What of a socket is not in shared memory. */
struct passport_socket {
	uint32_t slot;
	uint32_t pair; /* index in the table of pairs */
	uint32_t channel;
	uint32_t left;
	uint32_t lost;
	uint32_t reserved;
};

struct passport_pair {
	uint64_t index;
	struct pair pair;
};

struct passport {
	uint64_t magic;
	uint32_t descriptors_count;
	uint32_t sockets_count;
	uint32_t pairs_count;
	uint32_t shape; /* of what follows: the same library reads it as it was written */
	uint64_t abi_hash;
	uint64_t process;
	uint64_t start_time;
	int32_t arena_descriptor;
	uint32_t arena_process;
};

#define SHAPE ((uint32_t)(sizeof(struct passport_socket) << 16 | sizeof(struct passport_pair)))

static struct passport *made;
static int made_descriptor;

static struct passport_descriptor *descriptors_of(struct passport *passport)
{
	return (struct passport_descriptor *)(passport + 1);
}

static struct passport_socket *sockets_of(struct passport *passport)
{
	return (struct passport_socket *)(descriptors_of(passport) + passport->descriptors_count);
}

static struct passport_pair *pairs_of(struct passport *passport)
{
	return (struct passport_pair *)(sockets_of(passport) + passport->sockets_count);
}

static size_t passport_bytes(const struct passport *passport)
{
	return sizeof(*passport) + passport->descriptors_count * sizeof(struct passport_descriptor) +
	       passport->sockets_count * sizeof(struct passport_socket) +
	       passport->pairs_count * sizeof(struct passport_pair);
}

static void each_own_descriptor(struct passport *passport, void (*act)(int fd, int argument), int argument)
{
	act(passport->arena_descriptor, argument);
	for (uint32_t i = 0; i < passport->pairs_count; i++)
		pass_pair_each_descriptor(&pairs_of(passport)[i].pair, act, argument);
}

/* -- which sockets pass ---------------------------------------------------------------------------------------------------- */

/* The ring is out of use for good, and nothing is in it: the kernel has it all. */
static int is_kernels(struct sock *sock)
{
	return local_rx_is_kernel(&sock->end) && load_acquire(&sock->end.rx->tail) & SHM_TAIL_NEVER &&
	       load_acquire(&sock->end.tx->kernel_for_good);
}

int passport_suits(struct sock *sock)
{
	return (load_acquire(&sock->gate) & (GATE_ENGINE | GATE_FORKED)) == GATE_ENGINE && !sock->end.pair->inherited &&
	       sock_is_sole_holder(sock);
}

/* 1: `fd` passes; 0: there is nothing to pass, the kernel has it; -1: it is attached, and cannot pass. */
static int passes(int fd)
{
	struct sock *sock = sock_of(fd);

	if (!sock || !sock_is_engine(sock) || sock->given || !descriptor_is_inherited(fd) || is_kernels(sock))
		return 0;
	return passport_suits(sock) ? 1 : -1;
}

/* Numbers all sockets and pairs that pass. 1, or 0: there are none, or one that cannot pass. */
static int number_all(struct passport *counts)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++) {
		int passing = passes(fd);
		struct sock *sock = sock_of(fd);

		if (passing < 0)
			return 0;
		if (!passing)
			continue;
		counts->descriptors_count++;
		if (!sock->passes)
			sock->passes = ++counts->sockets_count;
		if (!sock->end.pair->passes)
			sock->end.pair->passes = ++counts->pairs_count;
	}
	return counts->sockets_count && counts->descriptors_count <= DESCRIPTORS_PASSED_MAX;
}

static void forget_numbers(void)
{
	for (int fd = 0; fd <= descriptor_highest(); fd++)
		if (sock_of(fd))
			sock_of(fd)->passes = 0;
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		pairs[i].passes = 0;
}

/* -- writing ------------------------------------------------------------------------------------------------------------------ */

/* The passport's memory, at a number where a new image looks. NULL: it cannot be had. */
static struct passport *memory_for(const struct passport *counts)
{
	size_t bytes = passport_bytes(counts);
	int fd = memory_make("byway.passport", bytes, 1);
	struct passport *map = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int above, lowest = descriptor_left_numbers(&above);
	int moved = (int)sys_fcntl(fd, F_DUPFD, lowest);

	descriptor_own_close(fd);
	if (map != MAP_FAILED && moved >= 0 && moved < above) {
		made_descriptor = moved;
		descriptor_set(moved, DESCRIPTOR_OWN, 0);
		*map = *counts;
		return map;
	}
	if (moved >= 0)
		sys_close(moved);
	if (map != MAP_FAILED)
		munmap(map, bytes);
	return NULL;
}

static void write_socket(struct sock *sock)
{
	struct passport_socket *entry = &sockets_of(made)[sock->passes - 1];

	if (entry->channel) /* number + 1 while it is written: it is held already */
		return;
	pass_end_hold(&sock->end);
	*entry = (struct passport_socket){.slot = sock_index(sock),
	                                  .pair = pair_index(sock->end.pair),
	                                  .channel = sock->end.channel + 1,
	                                  .left = sock->end.left,
	                                  .lost = sock->end.lost};
}

/* Every descriptor that was counted, with what it stands for. */
static void write_all(void)
{
	uint32_t count = 0;

	for (int fd = 0; fd <= descriptor_highest() && count < made->descriptors_count; fd++) {
		struct sock *sock = sock_of(fd);

		if (!sock || !sock->passes || !descriptor_is_inherited(fd))
			continue;
		write_socket(sock);
		descriptors_of(made)[count++] =
			(struct passport_descriptor){.cookie = diag_cookie(fd), .fd = fd, .socket = sock->passes - 1};
	}
	for (uint32_t i = count; i < made->descriptors_count; i++) /* closed by another thread meanwhile */
		descriptors_of(made)[i].fd = -1;
	for (uint32_t i = 0; i < PAIRS_MAX; i++)
		if (pairs[i].passes)
			pairs_of(made)[pairs[i].passes - 1] = (struct passport_pair){.index = i, .pair = pairs[i]};
}

int passport_make(void)
{
	struct passport counts = {.magic = PASSPORT_MAGIC,
	                          .shape = SHAPE,
	                          .abi_hash = BYWAY_ABI_HASH,
	                          .process = (uint64_t)sys_getpid(),
	                          .start_time = process_start_time(sys_getpid()),
	                          .arena_descriptor = arena_fd,
	                          .arena_process = arena_process};

	if (!arena || arena_process == ARENA_NONE || arena->processes[arena_process].owner != counts.process)
		return 0;
	sock_hold_still();
	made = number_all(&counts) ? memory_for(&counts) : NULL;
	if (!made) {
		forget_numbers();
		sock_go_on();
		return 0;
	}
	CRASH_POINT(exec_held);
	write_all();
	CRASH_POINT(exec_listed);
	each_own_descriptor(made, descriptor_own_passes, 1);
	return 1;
}

void passport_fail(void)
{
	each_own_descriptor(made, descriptor_own_passes, 0);
	descriptor_own_close(made_descriptor);
	for (uint32_t i = 0; i < made->sockets_count; i++)
		if (sockets_of(made)[i].channel)
			pass_end_free(&socks[sockets_of(made)[i].slot].end);
	munmap(made, passport_bytes(made));
	made = NULL;
	forget_numbers();
	sock_go_on();
}

/* -- reading ------------------------------------------------------------------------------------------------------------------- */

static int is_ours(const struct passport *head)
{
	return head->magic == PASSPORT_MAGIC && head->process == (uint64_t)sys_getpid() &&
	       head->start_time == process_start_time(sys_getpid());
}

static int head_read(int fd, struct passport *head)
{
	long seals = sys_fcntl(fd, F_GET_SEALS, 0);

	return seals >= 0 && seals & F_SEAL_GROW && SYS4(SYS_pread64, fd, head, sizeof(*head), 0) == (long)sizeof(*head) &&
	       head->magic == PASSPORT_MAGIC;
}

/* The descriptor of a passport, or -1. One that is another process's is closed: it was left by an image without us. */
static int passport_find(struct passport *head)
{
	int above, found = -1;

	for (int fd = descriptor_left_numbers(&above); fd < above && found < 0; fd++) {
		if (!head_read(fd, head))
			continue;
		if (is_ours(head))
			found = fd;
		else
			sys_close(fd);
	}
	return found;
}

static int is_sound(int fd, const struct passport *head)
{
	return head->abi_hash == BYWAY_ABI_HASH && head->shape == SHAPE &&
	       head->descriptors_count <= DESCRIPTORS_PASSED_MAX && head->sockets_count <= SHM_SOCKETS_MAX &&
	       head->pairs_count <= PAIRS_MAX && SYS3(SYS_lseek, fd, 0, 2 /* SEEK_END */) == (long)passport_bytes(head);
}

static struct passport *passport_read(int fd, size_t bytes)
{
	struct passport *copy = memory_private(bytes);

	if (copy && SYS4(SYS_pread64, fd, copy, bytes, 0) != (long)bytes) {
		munmap(copy, bytes);
		return NULL;
	}
	return copy;
}

/* Bytes may be lost, and the other end may wait for this one: an end that both see is better than silence. */
static void abort_connection(const struct passport_descriptor *descriptor)
{
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	if (descriptor->fd < 0 || diag_cookie(descriptor->fd) != descriptor->cookie)
		return;
	log_line(LOG_ALWAYS, "descriptor %d: its channel could not be found again after exec; the connection is reset",
	         descriptor->fd);
	sys_connect(descriptor->fd, &nobody, sizeof(nobody));
}

/* One by one from the file, since memory may be what is missing. */
static void refuse_all(int fd, const struct passport *head)
{
	struct passport_descriptor descriptor;

	for (uint32_t i = 0; i < head->descriptors_count && i < DESCRIPTORS_PASSED_MAX; i++)
		if (SYS4(SYS_pread64, fd, &descriptor, sizeof(descriptor), sizeof(*head) + i * sizeof(descriptor)) ==
		    (long)sizeof(descriptor))
			abort_connection(&descriptor);
}

static void close_one(int fd, int argument)
{
	(void)argument; /* the form of pass_pair_each_descriptor */
	descriptor_own_close(fd);
}

static void take_pairs(struct passport *passport)
{
	for (uint32_t i = 0; i < passport->pairs_count; i++) {
		struct passport_pair *entry = &pairs_of(passport)[i];
		int error = pass_pair_take((uint32_t)entry->index, &entry->pair);

		if (error)
			log_line(LOG_WHY, "a pair could not be taken over after exec (error %d)", -error);
	}
}

/* The first descriptor of a socket: the end is attached, and calls go through the engine. */
static struct sock *take_socket(const struct passport_socket *entry, int fd)
{
	struct pair *pair = entry->pair < PAIRS_MAX ? &pairs[entry->pair] : NULL;
	struct sock *sock;

	if (!pair || pair->state != 2 || entry->slot >= SHM_SOCKETS_MAX || !entry->channel ||
	    !arena_socket_holds(entry->slot, arena_process))
		return NULL;
	sock = sock_found(entry->slot);
	if (pass_end_take(&sock->end, pair, entry->channel - 1, fd)) {
		sock->shared = NULL;
		return NULL;
	}
	sock->end.left = entry->left;
	sock->end.lost = entry->lost;
	sock->stage = STAGE_OVER;
	sock->shared->descriptor = (uint32_t)fd;
	arena_socket_hold_alone(entry->slot);
	store_release(&sock->gate, GATE_ENGINE);
	local_rx_allow(&sock->end);
	count(counter_passed_on, 1);
	log_line(LOG_EVENT, "descriptor %d came through exec on channel %u", fd, sock->end.channel);
	return sock;
}

static void take_sockets(struct passport *passport)
{
	for (uint32_t i = 0; i < passport->descriptors_count; i++) {
		const struct passport_descriptor *descriptor = &descriptors_of(passport)[i];
		const struct passport_socket *entry = &sockets_of(passport)[descriptor->socket];
		struct sock *sock;

		if (descriptor->fd < 0 || descriptor->socket >= passport->sockets_count ||
		    diag_cookie(descriptor->fd) != descriptor->cookie)
			continue;
		sock = entry->slot < SHM_SOCKETS_MAX && socks[entry->slot].shared ? &socks[entry->slot]
		                                                                  : take_socket(entry, descriptor->fd);
		if (sock)
			sock_add_descriptor(sock, descriptor->fd);
		else
			abort_connection(descriptor);
	}
}

/* What this process held and has no more: exec has closed it, or left it to the kernel. */
static void leave_the_rest(struct passport *passport)
{
	for (uint32_t slot = 0; slot < load_acquire(&arena->socket_high) && slot < SHM_SOCKETS_MAX; slot++)
		if (arena_socket_holds(slot, arena_process) && !socks[slot].shared)
			arena_socket_leave(slot);
	for (uint32_t i = 0; i < passport->pairs_count; i++) {
		uint64_t index = pairs_of(passport)[i].index;

		if (index < PAIRS_MAX && pairs[index].state == 2)
			pass_pair_leave_lost_channels(&pairs[index]);
	}
}

/* 1: the arena and all that could be taken is there; 0: nothing. */
static int take(struct passport *passport)
{
	CRASH_POINT(exec_found);
	if (arena_adopt(passport->arena_descriptor, passport->arena_process)) {
		each_own_descriptor(passport, close_one, 0);
		return 0;
	}
	clock_calibrate();
	descriptor_own_found(passport->arena_descriptor);
	take_pairs(passport);
	CRASH_POINT(exec_pairs_taken);
	take_sockets(passport);
	CRASH_POINT(exec_sockets_taken);
	leave_the_rest(passport);
	return 1;
}

int passport_take(int able)
{
	struct passport head, *passport;
	int taken = 0, fd = passport_find(&head);
	size_t bytes;

	if (fd < 0)
		return 0;
	bytes = passport_bytes(&head);
	passport = able && is_sound(fd, &head) ? passport_read(fd, bytes) : NULL;
	if (passport) {
		taken = take(passport);
		munmap(passport, bytes);
	}
	if (!taken)
		refuse_all(fd, &head);
	sys_close(fd);
	return taken;
}
