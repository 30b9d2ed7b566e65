/* Reads `#!` lines, ELF headers and the environment that is handed over. A program has this library if it is a dynamic one
 * for our loader (the same file), gains no rights by exec, and is given an LD_PRELOAD that names our library (the same file,
 * not changed since we were loaded), with no option that turns it off. */
#define _GNU_SOURCE
#include "interpose/image.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/options.h"
#include "base/sys.h"

#define HEAD_BYTES 256 /* what the kernel reads of a file first */
#define SCRIPTS_MAX 5 /* interpreters that are scripts themselves, as in the kernel */
#define PROGRAM_HEADERS_MAX 128
#define VARIABLES_MAX 1000000
#define PRELOAD "LD_PRELOAD="
#define ENABLED "BYWAY_ENABLED="

/* A file and its content, as far as stat tells. All 0: not known. */
struct file {
	uint64_t device, inode, bytes;
	struct timespec changed;
};

static struct file own_library, own_loader;

/* -- files ------------------------------------------------------------------------------------------------------------------ */

static struct file file_of(const struct stat *status)
{
	return (struct file){status->st_dev, status->st_ino, (uint64_t)status->st_size, status->st_mtim};
}

static int is_file(const char *path, const struct file *wanted)
{
	struct stat status;
	struct file found;

	if (!wanted->inode || SYS4(SYS_newfstatat, AT_FDCWD, path, &status, 0))
		return 0;
	found = file_of(&status);
	return found.device == wanted->device && found.inode == wanted->inode && found.bytes == wanted->bytes &&
	       found.changed.tv_sec == wanted->changed.tv_sec && found.changed.tv_nsec == wanted->changed.tv_nsec;
}

static void file_of_address(const void *address, struct file *file)
{
	struct stat status;
	Dl_info info;

	if (dladdr(address, &info) && info.dli_fname && !SYS4(SYS_newfstatat, AT_FDCWD, info.dli_fname, &status, 0))
		*file = file_of(&status);
}

void image_start(void)
{
	file_of_address((const void *)(uintptr_t)image_start, &own_library);
	file_of_address((const void *)_r_debug.r_ldbase, &own_loader);
}

/* -- the environment ---------------------------------------------------------------------------------------------------------- */

/* The program's string, copied; its length, or -1: it cannot be read, or is longer. */
static long text_copy(char *to, size_t most, const char *from)
{
	for (size_t i = 0; i < most; i++) {
		if (copy_guarded(to + i, from + i, 1))
			return -1;
		if (!to[i])
			return (long)i;
	}
	return -1;
}

/* 1: the variable has this name (with its '='); 0; -1: it cannot be read. */
static int is_named(const char *variable, const char *name)
{
	for (size_t i = 0; name[i]; i++) {
		char letter;

		if (copy_guarded(&letter, variable + i, 1))
			return -1;
		if (letter != name[i])
			return 0;
	}
	return 1;
}

/* The value of the one variable of this name. Its length; -ENOENT: there is none; or another negative errno. */
static long value_of(char *const environment[], const char *name, char *value, size_t most)
{
	long found = -ENOENT;

	for (size_t i = 0; environment && i < VARIABLES_MAX; i++) {
		char *variable;
		int named;

		if (copy_guarded(&variable, environment + i, sizeof(variable)))
			return -EFAULT;
		if (!variable)
			return found;
		named = is_named(variable, name);
		if (named < 0 || (named && found != -ENOENT))
			return -EINVAL;
		if (named)
			found = text_copy(value, most, variable + strlen(name));
		if (named && found < 0)
			return -E2BIG;
	}
	return environment ? -E2BIG : -ENOENT;
}

/* LD_PRELOAD is a list, separated by colons and spaces. */
static int names_our_library(char *list)
{
	char *rest = NULL;

	for (char *name = strtok_r(list, ": ", &rest); name; name = strtok_r(NULL, ": ", &rest))
		if (strchr(name, '/') && !strchr(name, '$') && is_file(name, &own_library))
			return 1;
	return 0;
}

static int loads_our_library(char *const environment[])
{
	char value[PATH_MAX];
	long bytes = value_of(environment, ENABLED, value, sizeof(value));

	if (bytes != -ENOENT && (bytes < 0 || strcmp(value, "1")))
		return 0;
	return value_of(environment, PRELOAD, value, sizeof(value)) > 0 && names_our_library(value);
}

/* -- rights --------------------------------------------------------------------------------------------------------------------- */

/* No security module has rules for us: a change of label at exec makes the loader leave LD_PRELOAD alone. */
static int is_unlabelled(void)
{
	static const char unconfined[] = "unconfined";
	char label[sizeof(unconfined)];
	long bytes, fd = SYS3(SYS_open, "/proc/self/attr/current", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return 1;
	bytes = sys_read((int)fd, label, sizeof(label));
	sys_close((int)fd);
	return bytes <= 0 || (bytes >= (long)sizeof(unconfined) - 1 && !memcmp(label, unconfined, sizeof(unconfined) - 1) &&
	                      (bytes < (long)sizeof(label) || label[bytes - 1] == '\n'));
}

static int gains_rights(int fd, const struct stat *status)
{
	char value;
	long error = SYS4(SYS_fgetxattr, fd, "security.capability", &value, 0);

	return status->st_mode & (S_ISUID | S_ISGID) || (error != -ENODATA && error != -EOPNOTSUPP);
}

static int has_plain_rights(void)
{
	return SYS0(SYS_getuid) == SYS0(SYS_geteuid) && SYS0(SYS_getgid) == SYS0(SYS_getegid) && is_unlabelled();
}

/* -- what a file is ---------------------------------------------------------------------------------------------------------------- */

/* The dynamic loader that it names is ours. */
static int names_our_loader(int fd, const Elf64_Phdr *header)
{
	char path[PATH_MAX];

	if (header->p_filesz < 2 || header->p_filesz > sizeof(path) ||
	    SYS4(SYS_pread64, fd, path, header->p_filesz, header->p_offset) != (long)header->p_filesz ||
	    path[header->p_filesz - 1])
		return 0;
	return is_file(path, &own_loader);
}

static int is_for_our_loader(int fd, const Elf64_Ehdr *elf)
{
	Elf64_Phdr header;

	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_ident[EI_DATA] != ELFDATA2LSB || elf->e_machine != EM_X86_64 ||
	    elf->e_phentsize != sizeof(header) || elf->e_phnum > PROGRAM_HEADERS_MAX)
		return 0;
	for (uint64_t i = 0; i < elf->e_phnum; i++) {
		if (SYS4(SYS_pread64, fd, &header, sizeof(header), elf->e_phoff + i * sizeof(header)) != (long)sizeof(header))
			return 0;
		if (header.p_type == PT_INTERP)
			return names_our_loader(fd, &header);
	}
	return 0;
}

/* Opens the program that a `#!` line names. A descriptor, or a negative errno. */
static int interpreter_open(char *line)
{
	char *name = line + 2 + strspn(line + 2, " \t");
	size_t bytes = strcspn(name, " \t\n");

	if (!bytes || name + bytes >= line + HEAD_BYTES)
		return -ENOEXEC;
	name[bytes] = 0;
	return (int)SYS3(SYS_open, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
}

/* Takes `fd` over; follows scripts to their interpreter. */
static int has_our_loader(int fd)
{
	for (int scripts = 0; fd >= 0 && scripts <= SCRIPTS_MAX; scripts++) {
		union {
			char line[HEAD_BYTES + 1];
			Elf64_Ehdr elf;
		} head;
		struct stat status;
		long bytes = SYS4(SYS_pread64, fd, &head, HEAD_BYTES, 0);
		int next = -ENOEXEC, found = 0;

		if (bytes > 0 && !SYS4(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) && !gains_rights(fd, &status)) {
			memset(head.line + bytes, 0, sizeof(head.line) - (size_t)bytes);
			if (!memcmp(head.line, "#!", 2))
				next = interpreter_open(head.line);
			else
				found = !memcmp(head.line, ELFMAG, SELFMAG) && bytes >= (long)sizeof(head.elf) &&
				        is_for_our_loader(fd, &head.elf);
		}
		sys_close(fd);
		if (found)
			return 1;
		fd = next;
	}
	if (fd >= 0)
		sys_close(fd);
	return 0;
}

/* -- which file ------------------------------------------------------------------------------------------------------------------------ */

/* An errno that says that exec cannot succeed; 0: it may. */
static int certain_failure(int folder, const char *path, int flags)
{
	int look = flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
	long error = SYS4(SYS_faccessat2, folder, path, X_OK, AT_EACCESS | look);
	struct stat status;

	if (!error && !SYS4(SYS_newfstatat, folder, path, &status, look) && S_ISDIR(status.st_mode))
		return -EACCES;
	switch (error) {
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
	case -ELOOP:
	case -ENAMETOOLONG:
	case -EBADF:
	case -EFAULT:
		return (int)error;
	default:
		return 0;
	}
}

static int file_open(int folder, const char *path, int flags)
{
	char itself[32] = "/proc/self/fd/";
	int at = (int)strlen(itself);
	char first = 1;

	if (flags & AT_EMPTY_PATH && (copy_guarded(&first, path, 1) || !first)) {
		for (int part = 1000000000; part; part /= 10)
			if (folder >= part || part == 1)
				itself[at++] = (char)('0' + folder / part % 10);
		path = itself;
		folder = AT_FDCWD;
	}
	return (int)SYS4(SYS_openat, folder, path,
	                 O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), 0);
}

int image_examine(int folder, const char *path, int flags, char *const environment[])
{
	int error = certain_failure(folder, path, flags);
	struct stat status;
	int fd;

	if (error)
		return error;
	if (!options.enabled || flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) || !loads_our_library(environment) ||
	    !has_plain_rights())
		return IMAGE_FOREIGN;
	fd = file_open(folder, path, flags);
	if (fd < 0)
		return IMAGE_FOREIGN;
	if (SYS4(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) || !S_ISREG(status.st_mode)) {
		sys_close(fd);
		return IMAGE_FOREIGN;
	}
	return has_our_loader(fd) ? IMAGE_OURS : IMAGE_FOREIGN;
}

int image_search_goes_on(int error)
{
	switch (error) {
	case EACCES:
	case ENOENT:
	case ESTALE:
	case ENOTDIR:
	case ENODEV:
	case ETIMEDOUT:
	case ENOEXEC:
		return 1;
	default:
		return 0;
	}
}

/* folder/file in `path`; 0: it is too long, and libc passes it by. */
static int join(char *path, const char *folder, size_t folder_bytes, const char *file)
{
	size_t file_bytes = strlen(file);

	if (folder_bytes + file_bytes + 2 > PATH_MAX)
		return 0;
	memcpy(path, folder, folder_bytes);
	if (folder_bytes)
		path[folder_bytes++] = '/';
	memcpy(path + folder_bytes, file, file_bytes + 1);
	return 1;
}

int image_search(const char *file, char *const environment[], char *path)
{
	const char *folders = getenv("PATH");
	int refused = 0;

	if (!*file || strlen(file) > NAME_MAX || strchr(file, '/')) {
		if (!join(path, "", 0, file))
			return -ENAMETOOLONG;
		return image_examine(AT_FDCWD, path, 0, environment);
	}
	for (const char *at = folders ? folders : "/bin:/usr/bin";; at++) {
		size_t bytes = strcspn(at, ":");
		int image = join(path, at, bytes, file) ? image_examine(AT_FDCWD, path, 0, environment) : -ENOENT;

		if (image >= 0 || !image_search_goes_on(-image))
			return image;
		refused |= image == -EACCES;
		at += bytes;
		if (!*at)
			return refused ? -EACCES : -ENOENT;
	}
}
