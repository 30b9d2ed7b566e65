/* Reads /proc/ID/stat with raw system calls: no allocation, no stdio. */
#include "base/process.h"

#include <stdio.h>
#include <string.h>

#include "base/sys.h"

#define STAT_BYTES_MAX 1024
#define FIELD_START_TIME 22

static const char *field(const char *after_name, int wanted)
{
	int index = 3;

	for (const char *at = after_name; *at; at++)
		if (*at == ' ' && index++ == wanted)
			return at + 1;
	return NULL;
}

uint64_t process_start_time(long id, char *state)
{
	char path[64], text[STAT_BYTES_MAX];
	const char *name_end, *start;
	uint64_t value = 0;
	long fd, bytes;

	if (state)
		*state = PROCESS_STATE_GONE;
	snprintf(path, sizeof(path), "/proc/%ld/stat", id);
	fd = SYS3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	bytes = sys_read((int)fd, text, sizeof(text) - 1);
	sys_close((int)fd);
	if (bytes <= 0)
		return 0;
	text[bytes] = 0;
	name_end = strrchr(text, ')');
	if (!name_end)
		return 0;
	if (state && name_end[2] != 'Z' && name_end[2] != 'X')
		*state = name_end[2];
	start = field(name_end + 1, FIELD_START_TIME);
	while (start && *start >= '0' && *start <= '9')
		value = value * 10 + (uint64_t)(*start++ - '0');
	return value;
}
