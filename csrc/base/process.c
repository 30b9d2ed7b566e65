/* kill(2) with signal 0 says whether an id is in use; what /proc/ID/stat says, read with raw system calls (no allocation,
 * no stdio), tells the rest. */
#include "base/process.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"

#define STAT_BYTES_MAX 1024
#define MAP_BYTES_MAX 128
#define FIELD_FLAGS 9
#define FIELD_THREADS 20
#define FIELD_START_TIME 22
#define FLAG_EXITING 0x4 /* PF_EXITING of include/linux/sched.h */

/* "/proc/ID/stat"; `id` is positive. */
static void stat_path(char *path, long id)
{
	char digits[24];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + id % 10);
	while ((id /= 10) > 0);
	memcpy(path, "/proc/", 6);
	path += 6;
	while (count)
		*path++ = digits[--count];
	memcpy(path, "/stat", 6);
}

struct stat_line {
	char state; /* 0: unknown */
	uint64_t flags;
	uint64_t threads;
	uint64_t start_time;
};

static uint64_t field(const char *after_name, int wanted)
{
	uint64_t value = 0;
	int index = 3;

	while (*after_name && index <= wanted)
		if (*after_name++ == ' ')
			index++;
	for (; *after_name >= '0' && *after_name <= '9'; after_name++)
		value = value * 10 + (uint64_t)(*after_name - '0');
	return value;
}

/* What one read gives, with a 0 behind it. Empty where there is nothing. */
static void file_read(const char *path, char *text, size_t bytes)
{
	long fd = SYS3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
	long got = fd < 0 ? 0 : sys_read((int)fd, text, bytes - 1);

	if (fd >= 0)
		sys_close((int)fd);
	text[got > 0 ? got : 0] = 0;
}

static struct stat_line stat_read(long id)
{
	char path[64], text[STAT_BYTES_MAX];
	const char *name_end;

	stat_path(path, id);
	file_read(path, text, sizeof(text));
	name_end = strrchr(text, ')');
	if (!name_end || !name_end[1])
		return (struct stat_line){0};
	return (struct stat_line){name_end[2], field(name_end + 1, FIELD_FLAGS), field(name_end + 1, FIELD_THREADS),
	                          field(name_end + 1, FIELD_START_TIME)};
}

uint64_t process_start_time(long id)
{
	return stat_read(id).start_time;
}

static int is_unused(long id)
{
	return id <= 0 || SYS2(SYS_kill, id, 0) == -ESRCH;
}

static int has_ended(const struct stat_line *line)
{
	return line->state == 'Z' || line->state == 'X';
}

int process_is_gone(long id, uint64_t start_time)
{
	struct stat_line line;

	if (is_unused(id))
		return 1;
	line = stat_read(id);
	if (!line.state)
		return 0;
	return (start_time && line.start_time != start_time) || (has_ended(&line) && line.threads <= 1);
}

int process_thread_is_gone(long thread)
{
	struct stat_line line;

	if (is_unused(thread))
		return 1;
	line = stat_read(thread);
	return has_ended(&line);
}

int process_is_ending(long id)
{
	struct stat_line line;

	if (is_unused(id))
		return 1;
	line = stat_read(id);
	return has_ended(&line) || (line.flags & FLAG_EXITING) != 0;
}

/* A line of uid_map: first id here, first id outside, how many. */
int process_knows_all_users(void)
{
	static const char *const all[] = {"0", "0", "4294967295"};
	char text[MAP_BYTES_MAX], *word, *rest = text;
	size_t known = 0;

	file_read("/proc/self/uid_map", text, sizeof(text));
	while ((word = strtok_r(known ? NULL : text, " \n", &rest)) && known < 3 && !strcmp(word, all[known]))
		known++;
	return known == 3 && !word;
}
