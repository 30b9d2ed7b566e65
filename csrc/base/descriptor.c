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
