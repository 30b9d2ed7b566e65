/* Messages to stderr, one write a line, no allocation. Level: option `log`. Any thread; not in signal handlers. */
#ifndef BYWAY_BASE_LOG_H
#define BYWAY_BASE_LOG_H

enum log_level {
	LOG_ALWAYS = 0,
	LOG_WHY = 1,
	LOG_EVENT = 2,
	LOG_ALL = 3
};

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
