/* Formats into a buffer on the stack and writes it to descriptor 2. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/cpu.h"
#include "base/options.h"
#include "base/sys.h"

#define LINE_BYTES_MAX 512

void log_line(enum log_level level, const char *format, ...)
{
	char line[LINE_BYTES_MAX];
	int saved_errno = errno;
	int head, body;
	va_list arguments;

	if ((int64_t)level > load_relaxed(&options.log))
		return;
	head = snprintf(line, sizeof(line), "byway[%ld]: ", sys_getpid());
	va_start(arguments, format);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, arguments);
	va_end(arguments);
	if (body > (int)sizeof(line) - head - 2)
		body = (int)sizeof(line) - head - 2;
	line[head + body] = '\n';
	sys_write(2, line, (size_t)(head + body + 1));
	errno = saved_errno;
}
