/* The table of descriptors, and where Byway's own live: below the soft limit, at most at OWN_BASE_MAX, since the kernel
 * allocates and copies descriptor tables up to the highest number in use. */
#include "base/descriptor.h"

#include <sys/resource.h>

#include "base/cpu.h"
#include "base/sys.h"

#define OWN_BASE_MAX 8192
#define OWN_ROOM 512
#define LEFT_NUMBERS 8

uint32_t descriptor_table[DESCRIPTORS_MAX];

static int highest;

void descriptor_set(int fd, enum descriptor_kind kind, uint32_t index)
{
	int seen = load_relaxed(&highest);

	if ((unsigned)fd >= DESCRIPTORS_MAX)
		return;
	__atomic_store_n(&descriptor_table[fd], (uint32_t)kind << 24 | index, __ATOMIC_RELEASE);
	while (fd > seen && !compare_swap(&highest, &seen, fd))
		;
}

int descriptor_highest(void)
{
	return load_relaxed(&highest);
}

static int own_base(void)
{
	struct rlimit limit = {1024, 1024};
	long soft;

	SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit);
	soft = limit.rlim_cur > OWN_BASE_MAX + OWN_ROOM ? OWN_BASE_MAX + OWN_ROOM : (long)limit.rlim_cur;
	return soft > 2 * OWN_ROOM ? (int)(soft - OWN_ROOM) : (int)(soft / 2);
}

int descriptor_left_numbers(int *above)
{
	*above = own_base();
	return *above - LEFT_NUMBERS > 3 ? *above - LEFT_NUMBERS : 3;
}

int descriptor_own(long fd)
{
	long moved;

	if (fd < 0)
		return (int)fd;
	moved = sys_fcntl((int)fd, F_DUPFD_CLOEXEC, own_base());
	sys_close((int)fd);
	if (moved >= 0)
		descriptor_set((int)moved, DESCRIPTOR_OWN, 0);
	return (int)moved;
}

void descriptor_own_close(int fd)
{
	if (fd < 0)
		return;
	descriptor_set(fd, DESCRIPTOR_UNKNOWN, 0);
	sys_close(fd);
}

/* -- select(2) ---------------------------------------------------------------------------------------------------------- */

#define LIST_BYTES 4096
#define TABLE_LEAST 64 /* how the kernel's tables grow: fs/file.c */
#define TABLE_STEP 128

struct listed {
	uint64_t inode;
	int64_t next;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

static int number_of(const char *name)
{
	int number = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		number = number * 10 + (*name - '0');
	return number;
}

static int is_programs(int fd)
{
	return descriptor_kind(descriptor_entry(fd)) != DESCRIPTOR_OWN;
}

/* The highest descriptor of the program's; -1: /proc does not tell. */
static int programs_highest(void)
{
	_Alignas(struct listed) char list[LIST_BYTES];
	long directory = SYS3(SYS_open, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), bytes;
	int found = -1;

	if (directory < 0)
		return -1;
	while ((bytes = SYS3(SYS_getdents64, directory, list, sizeof(list))) > 0)
		for (long at = 0; at < bytes; at += ((struct listed *)(void *)(list + at))->bytes) {
			int fd = number_of(((struct listed *)(void *)(list + at))->name);

			if (fd > found && fd != directory && is_programs(fd))
				found = fd;
		}
	sys_close((int)directory);
	return found;
}

int descriptor_select_count(int count)
{
	int most = TABLE_LEAST, found;

	if (is_programs(count - 1) && sys_fcntl(count - 1, F_GETFD, 0) >= 0) /* it knows what it asks for */
		return count;
	found = programs_highest();
	if (found < 0)
		return count;
	while (most <= found)
		most = most < TABLE_STEP ? TABLE_STEP : 2 * most;
	return count < most ? count : most;
}

int descriptor_is_inherited(int fd)
{
	long flags = sys_fcntl(fd, F_GETFD, 0);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

void descriptor_own_passes(int fd, int passes)
{
	if (fd >= 0)
		sys_fcntl(fd, F_SETFD, passes ? 0 : FD_CLOEXEC);
}

void descriptor_own_found(int fd)
{
	descriptor_own_passes(fd, 0);
	descriptor_set(fd, DESCRIPTOR_OWN, 0);
}
