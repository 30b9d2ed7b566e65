/* The relay's process: `down` moves what the old socket receives (the ring's rest, then the kernel's bytes) to the link,
 * `up` what the program sends to the old socket. Ends are passed on as they are: a half-close as one, a reset as one; when
 * the program is gone, the old socket is closed as if it had been the program's.
 *
 * Where other processes still hold the old socket, their bytes are not taken from them: down then shows the program copies
 * (MSG_PEEK), and takes from the old socket what the program has read (the kernel tells, by sock_diag).
 * One thread, no handlers; it sleeps in poll. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/sys.h"
#include "local/diag.h"
#include "local/offset.h"
#include "sock/relay.h"

#define BUFFER_BYTES (256u << 10)
#define AHEAD_BYTES_MAX (64u << 10) /* a peek sees no further behind kernel bytes */
#define LOOK_MS_MAX 20 /* what the program has read of bytes shown to it */
#define ASK_MS_MAX 1000 /* whether a program that has half-closed is still there */
#define DRAIN_MS_MAX 200 /* whether the program has read what came before a reset */
#define FLUSH_MS_MAX 1000 /* what a program had sent before it reset the connection */
#define HANDOVER_MS_MAX 50 /* the process that made us leaves the socket at once */

struct flow {
	uint8_t *buffer;
	size_t at, fill; /* bytes [at, fill) are to be passed on */
	int ended; /* its source has ended */
	int passed; /* and that was passed on */
	int is_urgent; /* one byte of out-of-band data */
	int is_inline; /* it is in line for the program too */
};

enum state {
	PUMPING,
	OLD_RESET, /* the old socket has failed: the program gets a reset behind its bytes */
	LINK_RESET, /* the program has reset the link */
	PROGRAM_GONE,
	LEFT
};

struct pump {
	struct sock *sock;
	int old, link;
	enum state state;
	struct flow down, up;
	size_t ahead; /* shown to the program, not yet taken from the old socket */
	int alone; /* nobody else holds the old socket */
	int progress; /* in this round */
	int look_ms; /* to the next look at what the program has read; 0: it has just read something */
	int ask_ms; /* to the next question whether it is still there */
	uint64_t ask_at_ns;
	int is_over; /* the end was that of the whole connection: a reset follows it */
	struct linger linger; /* of the old socket, before it was ours alone */
	int is_mute[2]; /* the old socket, the link: shows an error or end that cannot be dealt with yet */
};

static int has_bytes(const struct flow *flow)
{
	return flow->at < flow->fill;
}

static int shows(int fd, short events)
{
	struct pollfd asked = {.fd = fd, .events = events};

	return sys_poll(&asked, 1, 0) == 1 ? asked.revents : 0;
}

/* How many bytes may be received without passing an urgent mark that comes meanwhile: none where nothing is there, and
 * any number behind an end. */
static size_t safe_bytes(int fd)
{
	long waiting = offset_waiting(fd);

	if (waiting > 0)
		return (size_t)waiting < BUFFER_BYTES ? (size_t)waiting : BUFFER_BYTES;
	return shows(fd, POLLRDHUP) & (POLLRDHUP | POLLHUP | POLLERR) ? BUFFER_BYTES : 0;
}

/* Out-of-band data, which lies in line here, is sent on as such when its place in the stream is reached. One that the program
 * had read before there was a relay it sees again only where that is in line for it too. 1: something was taken. */
static int take_urgent(struct flow *flow, int from)
{
	int is_there = 0, is_unread;

	flow->is_urgent = 0;
	if (sys_ioctl(from, SIOCATMARK, &is_there) || !is_there || offset_waiting(from) <= 0)
		return 0;
	is_unread = shows(from, POLLPRI) & POLLPRI;
	if (sys_recvfrom(from, flow->buffer, 1, MSG_DONTWAIT) != 1)
		return 0;
	flow->is_urgent = is_unread;
	flow->at = 0;
	flow->fill = is_unread || flow->is_inline ? 1 : 0;
	return 1;
}

static int send_flags(const struct flow *flow)
{
	return MSG_DONTWAIT | MSG_NOSIGNAL | (flow->is_urgent ? MSG_OOB : 0);
}

/* -- leaving ---------------------------------------------------------------------------------------------------------------- */

/* A relay that is killed leaves resets behind: bytes that it had taken must not be missed before a clean end. */
static void reset_at_death(int fd)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* Else an urgent byte alone would not wake us, and be lost where a second one follows it. */
static void urgent_in_line(int fd)
{
	int yes = 1;

	sys_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes));
}

/* Nobody else holds the old socket from now on. */
static void be_alone(struct pump *pump)
{
	unsigned bytes = sizeof(pump->linger);

	pump->alone = 1;
	sys_getsockopt(pump->old, SOL_SOCKET, SO_LINGER, &pump->linger, &bytes);
	bytes = sizeof(pump->down.is_inline);
	sys_getsockopt(pump->old, SOL_SOCKET, SO_OOBINLINE, &pump->down.is_inline, &bytes);
	reset_at_death(pump->old);
	urgent_in_line(pump->old);
}

static void leave(struct pump *pump, int reset)
{
	static const struct linger none;

	if (!reset) {
		sys_setsockopt(pump->link, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		if (pump->alone)
			sys_setsockopt(pump->old, SOL_SOCKET, SO_LINGER, &pump->linger, sizeof(pump->linger));
	}
	sock_close_begin(pump->sock, pump->old);
	sys_close(pump->old);
	sock_closed(pump->sock);
	pump->state = LEFT;
}

/* -- down: to the program --------------------------------------------------------------------------------------------------- */

static long receive(struct pump *pump, void *to, size_t bytes, int discard, int flags)
{
	struct iovec piece = {to, bytes};
	struct cursor cursor = {.pieces = &piece, .count = 1, .left = bytes, .discard = discard};

	return local_recv(&pump->sock->end, pump->old, &cursor, flags | MSG_DONTWAIT);
}

/* Nothing, the end, or an error of the old socket. */
static void down_stopped(struct pump *pump, long said)
{
	if (said == 0) {
		pump->down.ended = 1;
		pump->is_over = offset_is_closed(pump->old) && !pump->up.passed;
	} else if (said != -EAGAIN && said != -EINTR) {
		pump->state = OLD_RESET;
	}
	pump->progress |= said != -EAGAIN;
}

static void down_fill(struct pump *pump)
{
	int by_kernel = local_rx_is_kernel(&pump->sock->end);
	size_t most = by_kernel ? safe_bytes(pump->old) : BUFFER_BYTES;
	long received;

	pump->down.is_urgent = 0;
	if (by_kernel && most && take_urgent(&pump->down, pump->old)) {
		pump->progress = 1;
		return;
	}
	if (!most)
		return;
	received = receive(pump, pump->down.buffer, most, 0, 0);
	if (received <= 0) {
		down_stopped(pump, received);
		return;
	}
	pump->down.at = 0;
	pump->down.fill = (size_t)received;
	CRASH_POINT(relay_took);
	pump->progress = 1;
}

static void down_send(struct pump *pump)
{
	struct flow *down = &pump->down;

	while (has_bytes(down)) {
		long sent = sys_sendto(pump->link, down->buffer + down->at, down->fill - down->at, send_flags(down));

		if (sent <= 0) {
			if (sent != -EAGAIN)
				pump->state = LINK_RESET;
			return;
		}
		down->at += (size_t)sent;
		pump->progress = 1;
	}
	if (down->ended && !down->passed) {
		SYS2(SYS_shutdown, pump->link, SHUT_WR);
		down->passed = 1;
		pump->progress = 1;
	}
	if (down->passed && pump->is_over)
		pump->state = OLD_RESET;
}

/* Bytes of the link that the program has not read; those that we have shown it, where nobody can tell. */
static size_t link_unread(struct pump *pump)
{
	struct diag_peer program;
	int unsent = 0;

	if (diag_find_peer(pump->link, &program) || sys_ioctl(pump->link, SIOCOUTQ, &unsent))
		return pump->ahead;
	return (size_t)unsent + program.unread < pump->ahead ? (size_t)unsent + program.unread : pump->ahead;
}

/* Takes from the old socket what the program has read, `left` being what it has not. */
static void down_take(struct pump *pump, size_t left)
{
	while (pump->ahead > left) {
		long taken = receive(pump, pump->down.buffer, pump->ahead - left, 1, MSG_TRUNC);

		if (taken <= 0) /* another holder was quicker */
			pump->ahead = left;
		else
			pump->ahead -= (size_t)taken;
		pump->progress = 1;
		pump->look_ms = 0;
	}
}

static void down_show(struct pump *pump)
{
	long seen =
		pump->ahead < AHEAD_BYTES_MAX ? receive(pump, pump->down.buffer, AHEAD_BYTES_MAX, 0, MSG_PEEK) : -EAGAIN;
	long sent;

	if (seen <= 0) {
		down_stopped(pump, seen);
		return;
	}
	if ((size_t)seen <= pump->ahead)
		return;
	sent = sys_sendto(pump->link, pump->down.buffer + pump->ahead, (size_t)seen - pump->ahead,
	                  MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0) {
		pump->ahead += (size_t)sent;
		pump->progress = 1;
	} else if (sent != -EAGAIN) {
		pump->state = LINK_RESET;
	}
}

/* Others hold the old socket: copies only. */
static void down_careful(struct pump *pump)
{
	if (sock_is_sole_holder(pump->sock)) {
		be_alone(pump);
		down_take(pump, 0);
		return;
	}
	if (pump->ahead)
		down_take(pump, link_unread(pump));
	if (pump->state == PUMPING)
		down_show(pump);
}

static void down(struct pump *pump)
{
	if (!pump->alone && !pump->down.ended)
		down_careful(pump);
	if (pump->alone && !has_bytes(&pump->down) && !pump->down.ended && pump->state == PUMPING)
		down_fill(pump);
	if (pump->state != LINK_RESET)
		down_send(pump);
}

/* -- up: from the program --------------------------------------------------------------------------------------------------- */

static void up_fill(struct pump *pump)
{
	size_t most = safe_bytes(pump->link);
	long received;

	if (most && take_urgent(&pump->up, pump->link)) {
		pump->progress = 1;
		return;
	}
	if (!most)
		return;
	received = sys_recvfrom(pump->link, pump->up.buffer, most, MSG_DONTWAIT);
	if (received > 0) {
		pump->up.at = 0;
		pump->up.fill = (size_t)received;
		pump->progress = 1;
	} else if (received == 0) {
		pump->up.ended = 1;
		pump->progress = 1;
	} else if (received != -EAGAIN && received != -EINTR) {
		pump->state = LINK_RESET;
	}
}

static void up_send(struct pump *pump)
{
	struct flow *up = &pump->up;

	while (has_bytes(up)) {
		struct iovec piece = {up->buffer + up->at, up->fill - up->at};
		struct cursor cursor = {.pieces = &piece, .count = 1, .left = piece.iov_len};
		long sent = local_send(&pump->sock->end, pump->old, &cursor, send_flags(up));

		if (sent <= 0) {
			if (sent != -EAGAIN)
				pump->state = OLD_RESET;
			return;
		}
		up->at += (size_t)sent;
		pump->progress = 1;
	}
}

static int program_is_gone(const struct pump *pump)
{
	struct diag_peer program;
	int error = diag_find_peer(pump->link, &program);

	return error == -ENOENT || (!error && !program.inode);
}

/* The link has ended. Was that a half-close, or the end of the program? It closes its descriptors a moment after. */
static void up_ended(struct pump *pump)
{
	uint64_t now = clock_now_ns();

	if (now < pump->ask_at_ns)
		return;
	if (program_is_gone(pump)) {
		pump->state = PROGRAM_GONE;
		return;
	}
	if (pump->ask_ms && !pump->up.passed) {
		local_shutdown(&pump->sock->end, pump->old, SHUT_WR);
		pump->up.passed = 1;
	}
	pump->ask_ms = pump->ask_ms ? pump->ask_ms * 2 : 1;
	if (pump->ask_ms > ASK_MS_MAX)
		pump->ask_ms = ASK_MS_MAX;
	pump->ask_at_ns = now + (uint64_t)pump->ask_ms * 1000000u;
}

static void up(struct pump *pump)
{
	if (!has_bytes(&pump->up) && !pump->up.ended)
		up_fill(pump);
	up_send(pump);
	if (pump->state == PUMPING && pump->up.ended && !has_bytes(&pump->up))
		up_ended(pump);
}

/* -- ends ----------------------------------------------------------------------------------------------------------------------- */

static int bytes_unsent(int fd)
{
	int bytes = 0;

	return sys_ioctl(fd, SIOCOUTQ, &bytes) ? 0 : bytes;
}

/* The program still gets the bytes that came before the reset, as it would find them in its socket: unless it goes on to
 * send, and would have been told. */
static void end_old_reset(struct pump *pump, uint32_t *settled)
{
	struct pollfd link = {.fd = pump->link, .events = pump->up.ended ? 0 : POLLIN};
	int pause_ms = 1;

	if (!pump->is_over) /* no end, a reset */
		pump->down.ended = 0;
	for (;;) {
		down_send(pump);
		if (pump->state != OLD_RESET || (!has_bytes(&pump->down) && !bytes_unsent(pump->link)))
			break;
		if (has_bytes(&pump->down)) /* the program must read first */
			store_release(settled, 1);
		if (sys_poll(&link, 1, pause_ms) != 0)
			break;
		pause_ms = pause_ms * 2 > DRAIN_MS_MAX ? DRAIN_MS_MAX : pause_ms * 2;
	}
	sys_close(pump->link); /* a reset: see reset_at_death */
	leave(pump, 0);
}

/* 1: all that the program had sent before its reset has left the old socket. */
static int is_flushed(struct pump *pump)
{
	pump->progress = 0;
	pump->state = PUMPING;
	if (!has_bytes(&pump->up) && !pump->up.ended)
		up_fill(pump);
	if (pump->state == LINK_RESET) /* that was the last of it */
		pump->up.ended = 1;
	pump->state = PUMPING;
	up_send(pump);
	if (pump->state == OLD_RESET)
		return 1;
	return pump->up.ended && !has_bytes(&pump->up) && !bytes_unsent(pump->old);
}

/* What the program had sent before goes to the peer, as far as it takes it in good time; then the reset. */
static void end_link_reset(struct pump *pump)
{
	uint64_t deadline = clock_now_ns() + FLUSH_MS_MAX * 1000000u;
	struct pollfd old = {.fd = pump->old, .events = POLLOUT};

	if (!sock_is_sole_holder(pump->sock)) { /* others go on with it */
		leave(pump, 0);
		return;
	}
	while (!is_flushed(pump) && clock_now_ns() < deadline)
		if (!pump->progress)
			sys_poll(&old, has_bytes(&pump->up), 1);
	leave(pump, 1);
}

/* Nobody is left to hear the program: the kernel answers what it sends to a link whose other end has closed as it would
 * on the old socket. */
static int is_unheard(struct pump *pump)
{
	return pump->alone && (load_acquire(&pump->sock->end.rx->closed) || !pair_peer_lives(pump->sock->end.pair));
}

static void end_if_due(struct pump *pump, uint32_t *settled)
{
	switch (pump->state) {
	case OLD_RESET:
		end_old_reset(pump, settled);
		break;
	case LINK_RESET:
		end_link_reset(pump);
		break;
	case PROGRAM_GONE:
		leave(pump, pump->alone && has_bytes(&pump->down));
		break;
	default:
		if (pump->down.passed && (pump->up.passed || is_unheard(pump)))
			leave(pump, 0);
	}
}

/* -- waiting ---------------------------------------------------------------------------------------------------------------------- */

/* Milliseconds to what is to be asked of the kernel; -1: nothing. */
static int next_look(struct pump *pump)
{
	int wait_ms = pump->up.ended && !has_bytes(&pump->up) ? pump->ask_ms : -1;

	if (!pump->ahead)
		return wait_ms;
	pump->look_ms = pump->look_ms ? pump->look_ms * 2 : 1;
	if (pump->look_ms > LOOK_MS_MAX)
		pump->look_ms = LOOK_MS_MAX;
	return wait_ms < 0 || wait_ms > pump->look_ms ? pump->look_ms : wait_ms;
}

static void wanted_events(const struct pump *pump, struct pollfd fds[2])
{
	if (!pump->down.ended && !has_bytes(&pump->down) && !pump->ahead)
		fds[0].events |= POLLIN;
	if (has_bytes(&pump->up))
		fds[0].events |= POLLOUT;
	if (!pump->up.ended && !has_bytes(&pump->up))
		fds[1].events |= POLLIN;
	if (has_bytes(&pump->down))
		fds[1].events |= POLLOUT;
}

/* The kernel shows errors and ends unasked, again and again: one that must wait is not looked at the next time. */
static void wait_for_more(struct pump *pump)
{
	struct pollfd fds[2] = {{.fd = pump->old}, {.fd = pump->link}};

	wanted_events(pump, fds);
	for (int i = 0; i < 2; i++)
		if (pump->is_mute[i] && !fds[i].events)
			fds[i].fd = -1;
	sys_poll(fds, 2, next_look(pump));
	for (int i = 0; i < 2; i++)
		pump->is_mute[i] = !fds[i].events && fds[i].revents;
	if (pump->is_mute[0] && fds[0].revents & POLLERR && pump->down.ended && !pump->up.passed)
		pump->state = OLD_RESET;
	if (pump->is_mute[1] && fds[1].revents & POLLERR)
		pump->state = LINK_RESET;
}

/* -- the whole ---------------------------------------------------------------------------------------------------------------------- */

/* Who made us still holds the socket, for a moment. */
static void wait_for_handover(struct pump *pump)
{
	struct timespec pause = {0, 200000};
	uint64_t deadline = clock_now_ns() + HANDOVER_MS_MAX * 1000000u;

	while (!sock_is_sole_holder(pump->sock)) {
		if (clock_now_ns() >= deadline)
			return;
		SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
	}
	be_alone(pump);
}

static int buffers_make(struct pump *pump)
{
	uint8_t *map = mmap(NULL, 2 * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	pump->down.buffer = map;
	pump->up.buffer = map + BUFFER_BYTES;
	return map != MAP_FAILED;
}

static void run(struct pump *pump, uint32_t *settled)
{
	while (pump->state != LEFT) {
		pump->progress = 0;
		if (pump->state == PUMPING)
			down(pump);
		if (pump->state == PUMPING)
			up(pump);
		end_if_due(pump, settled);
		if (pump->progress || pump->state != PUMPING)
			continue;
		local_service(&pump->sock->end, pump->old);
		store_release(settled, 1);
		wait_for_more(pump);
	}
}

/* What the old socket delays or marks is the program's connection's to delay or mark. */
static void set_options(const struct pump *pump)
{
	int yes = 1, no = 0;

	reset_at_death(pump->link);
	sys_setsockopt(pump->link, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	urgent_in_line(pump->link);
	sys_setsockopt(pump->old, IPPROTO_TCP, TCP_CORK, &no, sizeof(no));
	sys_setsockopt(pump->old, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

void relay_run(struct sock *sock, int old, int link, uint32_t process, uint32_t *settled)
{
	struct pump pump = {.sock = sock, .old = old, .link = link};

	relay_process_begin(sock, old, link, process);
	pump.up.passed = local_has_half_closed(&sock->end); /* before there was a relay */
	set_options(&pump);
	wait_for_handover(&pump);
	if (buffers_make(&pump))
		run(&pump, settled);
	else
		leave(&pump, 1);
	SYS1(SYS_exit_group, 0);
	__builtin_unreachable();
}
