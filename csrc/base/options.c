/* Reads BYWAY_NAME for each option; a bad value is said on stderr and the default stays. */
#include "base/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define NAME_BYTES_MAX 64

struct options options = {
#define OPTION(name, scope, type, value, minimum, maximum, text) .name = value,
#include "shm/options.def"
#undef OPTION
};

static void read_one(const char *name, int64_t minimum, int64_t maximum, int64_t *value)
{
	char variable[NAME_BYTES_MAX] = "BYWAY_";
	char *text, *end;
	long long wish;

	for (size_t i = 0; name[i] && i < sizeof(variable) - 7; i++)
		variable[6 + i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 'a' + 'A') : name[i];
	text = getenv(variable);
	if (!text || !*text)
		return;
	wish = strtoll(text, &end, 10);
	if (*end || wish < minimum || wish > maximum)
		log_line(LOG_ALWAYS, "%s=%s is not a number from %lld to %lld; the default %lld is used", variable, text,
		         (long long)minimum, (long long)maximum, (long long)*value);
	else
		*value = wish;
}

void options_start(void)
{
#define OPTION(name, scope, type, value, minimum, maximum, text) read_one(#name, minimum, maximum, &options.name);
#include "shm/options.def"
#undef OPTION
	if (options.ring_bytes & (options.ring_bytes - 1)) {
		log_line(LOG_ALWAYS, "BYWAY_RING_BYTES=%lld is not a power of two; 65536 is used",
		         (long long)options.ring_bytes);
		options.ring_bytes = 65536;
	}
}
