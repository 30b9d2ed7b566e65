/* memfd_create(2), sized, reserved and sealed with raw system calls. */
#define _GNU_SOURCE
#include "base/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/descriptor.h"
#include "base/sys.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int is_allowed(size_t bytes)
{
	struct rlimit limit;

	return SYS4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) || limit.rlim_cur >= bytes;
}

int memory_make(const char *name, size_t bytes, int reserve)
{
	long error, fd;

	if (!is_allowed(bytes))
		return -EFBIG;
	fd = SYS2(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return (int)fd;
	error = SYS2(SYS_ftruncate, fd, bytes);
	if (!error && reserve)
		error = SYS4(SYS_fallocate, fd, 0, 0, bytes);
	if (!error)
		error = sys_fcntl((int)fd, F_ADD_SEALS, SEALS);
	if (error < 0) {
		sys_close((int)fd);
		return (int)error;
	}
	return descriptor_own(fd);
}

void *memory_private(size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

void *memory_release(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
	return NULL;
}
