/* Every value from one TCP_INFO: two calls combined are wrong now and then. */
#include "local/offset.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include "base/sys.h"

enum {
	STATE_ESTABLISHED = 1,
	STATE_FIN_WAIT1 = 4,
	STATE_FIN_WAIT2 = 5,
	STATE_TIME_WAIT = 6,
	STATE_CLOSE = 7,
	STATE_CLOSE_WAIT = 8,
	STATE_LAST_ACK = 9,
	STATE_CLOSING = 11
};

#define RECEIVED_TRIES_MAX 64

static int info_read(int fd, struct tcp_info *info)
{
	unsigned bytes = sizeof(*info);
	long error = sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &bytes);

	if (error)
		return (int)error;
	return bytes < offsetof(struct tcp_info, tcpi_bytes_retrans) + 8 ? -ENOPROTOOPT : 0;
}

int offset_sent(int fd, uint64_t *offset)
{
	struct tcp_info info;
	int error = info_read(fd, &info);

	if (error)
		return error;
	if (info.tcpi_state != STATE_ESTABLISHED && info.tcpi_state != STATE_CLOSE_WAIT)
		return -EPIPE;
	*offset = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
	return 0;
}

/* Whether bytes_received has FIN in it; unknown in state CLOSE. */
static int fin_counted(const struct tcp_info *info)
{
	switch (info->tcpi_state) {
	case STATE_ESTABLISHED:
	case STATE_FIN_WAIT1:
	case STATE_FIN_WAIT2:
	case STATE_CLOSE:
		return 0;
	default:
		return 1;
	}
}

long offset_waiting(int fd)
{
	int bytes = 0;
	long error = sys_ioctl(fd, SIOCINQ, &bytes);

	return error ? error : bytes;
}

int offset_arrived(int fd, uint64_t *offset)
{
	struct tcp_info info;
	int error = info_read(fd, &info);

	if (!error)
		*offset = info.tcpi_bytes_received - (uint64_t)fin_counted(&info);
	return error;
}

static int shows(int fd, short event)
{
	struct pollfd asked = {.fd = fd, .events = event};

	return sys_poll(&asked, 1, 0) == 1 && asked.revents & event;
}

int offset_has_error(int fd)
{
	return shows(fd, POLLERR);
}

int offset_has_urgent(int fd)
{
	return shows(fd, POLLPRI);
}

int offset_is_closed(int fd)
{
	struct tcp_info info;

	return !info_read(fd, &info) && info.tcpi_state == STATE_CLOSE;
}

int offset_fin_sent(int fd)
{
	struct tcp_info info;

	if (info_read(fd, &info))
		return 0;
	switch (info.tcpi_state) {
	case STATE_FIN_WAIT1:
	case STATE_FIN_WAIT2:
	case STATE_TIME_WAIT:
	case STATE_LAST_ACK:
	case STATE_CLOSING:
		return 1;
	default:
		return 0;
	}
}

int offset_fin_received(int fd)
{
	struct tcp_info info;

	return !info_read(fd, &info) && fin_counted(&info);
}

int offset_has_arrived(int fd, uint64_t offset)
{
	struct tcp_info info;

	if (info_read(fd, &info) || info.tcpi_state == STATE_CLOSE)
		return 1;
	return info.tcpi_bytes_received - (uint64_t)fin_counted(&info) >= offset;
}

int offset_received(int fd, uint64_t counted, uint64_t *offset)
{
	struct tcp_info before, after;
	int error = info_read(fd, &before);

	for (int tries = 0; !error && tries < RECEIVED_TRIES_MAX; tries++) {
		long waiting = offset_waiting(fd);

		if (waiting < 0)
			return (int)waiting;
		error = info_read(fd, &after);
		if (!error && after.tcpi_bytes_received == before.tcpi_bytes_received &&
		    after.tcpi_state == before.tcpi_state) {
			*offset = after.tcpi_bytes_received - (uint64_t)waiting - (uint64_t)fin_counted(&after);
			if (after.tcpi_state == STATE_CLOSE && *offset == counted + 1)
				*offset = counted;
			return 0;
		}
		before = after;
	}
	return error ? error : -EAGAIN;
}
