/* The agent: one of the two programs of a differential case.
 *
 * Does one libc call for each line it is sent and tells everything the program could have seen of it. It decides
 * nothing. Called by run.py, which starts it on the kernel or under Byway; it must not know which.
 * A line is `call key=value …`; so is the answer: r (what the call returned), e (errno when r is negative), and what
 * belongs to the call. The lines come by the UNIX sockets CHANNEL_FD + k: 0 the main thread, 1 a second thread,
 * 2… processes forked later. They are read and written by raw system calls, so that the library never sees them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/sockios.h>
#include <time.h>
#include <unistd.h>

enum {
	CHANNEL_FD = 200,
	CHANNELS = 6,
	LINE_BYTES = 4096,
	ARGUMENTS_MAX = 32,
	IOV_MAX_HERE = 16,
	ITEMS_MAX = 32,
	BAD_POINTER = 16, /* never mapped */
};

static const char *const agent_path_env = "BYWAY_AGENT_PATH"; /* where execve finds us again */
static const char *const lie_env = "BYWAY_AGENT_LIE";         /* the tester's own test: a call to lie about */

extern ssize_t __recv_chk(int, void *, size_t, size_t, int);
extern ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
extern ssize_t __read_chk(int, void *, size_t, size_t);
extern int __poll_chk(struct pollfd *, nfds_t, int, size_t);

struct argument {
	const char *key;
	const char *value;
};

/* One command and its answer; one for each thread. */
struct exchange {
	int channel;
	int argument_count;
	struct argument arguments[ARGUMENTS_MAX];
	char line[LINE_BYTES];
	char answer[LINE_BYTES];
	size_t answer_bytes;
	unsigned char *receive; /* receive buffer, grows */
	size_t receive_bytes;
	unsigned char *send;
	size_t send_bytes;
};

static unsigned char *blob; /* what streams are made of: byte p of stream s is blob[(s + p) % blob_bytes] */
static size_t blob_bytes;
static const char *lie;
static volatile sig_atomic_t signals_seen[65];

/* -- raw system calls, which no library sees ------------------------------------------------------------------------ */

static long raw3(long number, long a, long b, long c)
{
#if defined(__x86_64__)
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
#else
	long result = syscall(number, a, b, c);
	return result < 0 ? -errno : result;
#endif
}

static void channel_write(int channel, const char *text, size_t bytes)
{
	while (raw3(SYS_write, CHANNEL_FD + channel, (long)text, (long)bytes) == -EINTR)
		;
}

static long channel_read(int channel, char *text, size_t bytes)
{
	long got;
	do
		got = raw3(SYS_read, CHANNEL_FD + channel, (long)text, (long)bytes);
	while (got == -EINTR);
	return got;
}

/* -- arguments and answers ------------------------------------------------------------------------------------------ */

static const char *text_of(const struct exchange *x, const char *key, const char *otherwise)
{
	for (int i = 0; i < x->argument_count; i++)
		if (strcmp(x->arguments[i].key, key) == 0)
			return x->arguments[i].value;
	return otherwise;
}

static long number_of(const struct exchange *x, const char *key, long otherwise)
{
	const char *value = text_of(x, key, NULL);
	return value ? strtol(value, NULL, 0) : otherwise;
}

static int fd_of(const struct exchange *x)
{
	return (int)number_of(x, "fd", -1);
}

static int is(const struct exchange *x, const char *key, const char *value)
{
	return strcmp(text_of(x, key, ""), value) == 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct exchange *x, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	int wrote = vsnprintf(x->answer + x->answer_bytes, LINE_BYTES - x->answer_bytes, format, list);
	va_end(list);
	if (wrote > 0)
		x->answer_bytes += (size_t)wrote;
	if (x->answer_bytes >= LINE_BYTES)
		x->answer_bytes = LINE_BYTES - 1;
}

static void say_result(struct exchange *x, long result)
{
	int error = errno;
	if (result < 0)
		say(x, " r=%ld e=%d", result, error);
	else
		say(x, " r=%ld", result);
}

static uint32_t crc32_of(const unsigned char *data, size_t bytes)
{
	static uint32_t table[256];
	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;
			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? 0xedb88320u ^ (value >> 1) : value >> 1;
			table[i] = value;
		}
	uint32_t crc = 0xffffffffu;
	for (size_t i = 0; i < bytes; i++)
		crc = table[(crc ^ data[i]) & 255] ^ (crc >> 8);
	return crc ^ 0xffffffffu;
}

static void say_data(struct exchange *x, const unsigned char *data, long bytes)
{
	if (bytes <= 0)
		return;
	say(x, " n=%ld c=%08x h=", bytes, crc32_of(data, (size_t)bytes));
	for (long i = 0; i < bytes && i < 12; i++)
		say(x, "%02x", data[i]);
}

static unsigned char *at_least(unsigned char **buffer, size_t *have, size_t bytes)
{
	if (bytes > *have) {
		free(*buffer);
		*have = bytes + 4096;
		*buffer = malloc(*have);
		if (!*buffer)
			_exit(99);
	}
	return *buffer;
}

/* -- making and naming sockets -------------------------------------------------------------------------------------- */

static socklen_t address_of(const struct exchange *x, struct sockaddr_storage *address)
{
	memset(address, 0, sizeof *address);
	if (number_of(x, "family", AF_INET) == AF_INET6) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)number_of(x, "port", 0));
		inet_pton(AF_INET6, text_of(x, "address", "::1"), &six->sin6_addr);
		return sizeof *six;
	}
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)number_of(x, "port", 0));
	inet_pton(AF_INET, text_of(x, "address", "127.0.0.1"), &four->sin_addr);
	return sizeof *four;
}

static void say_address(struct exchange *x, const struct sockaddr_storage *address, socklen_t bytes)
{
	char text[64] = "?";
	int port = 0;
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
		inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
		port = ntohs(six->sin6_port);
	} else if (address->ss_family == AF_INET) {
		const struct sockaddr_in *four = (const struct sockaddr_in *)address;
		inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
		port = ntohs(four->sin_port);
	}
	say(x, " address=%s port=%d address_bytes=%u", text, port, bytes);
}

/* TCP_NODELAY is always set (accepted sockets inherit it): else small sends wait for acknowledgements, that Linux delays
 * by a clock, and when a receiver wakes is open. */
static void do_socket(struct exchange *x)
{
	int one = 1;
	int fd = socket((int)number_of(x, "family", AF_INET), (int)number_of(x, "type", SOCK_STREAM), 0);
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	say_result(x, fd);
}

static void do_socketpair(struct exchange *x)
{
	int pair[2] = {-1, -1};
	say_result(x, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	say(x, " fds=%d,%d", pair[0], pair[1]);
}

static void do_bind(struct exchange *x)
{
	struct sockaddr_storage address;
	socklen_t bytes = address_of(x, &address);
	say_result(x, bind(fd_of(x), (struct sockaddr *)&address, bytes));
}

static void do_connect(struct exchange *x)
{
	struct sockaddr_storage address;
	socklen_t bytes = address_of(x, &address);
	say_result(x, connect(fd_of(x), (struct sockaddr *)&address, bytes));
}

static void do_listen(struct exchange *x)
{
	say_result(x, listen(fd_of(x), (int)number_of(x, "backlog", 16)));
}

static void do_accept(struct exchange *x)
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof address;
	int flags = (int)number_of(x, "flags", 0);
	memset(&address, 0, sizeof address);
	int got = is(x, "api", "accept") ? accept(fd_of(x), (struct sockaddr *)&address, &bytes)
	                                 : accept4(fd_of(x), (struct sockaddr *)&address, &bytes, flags);
	say_result(x, got);
	if (got >= 0)
		say_address(x, &address, bytes);
}

static void do_name(struct exchange *x)
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof address;
	memset(&address, 0, sizeof address);
	int got = is(x, "api", "peer") ? getpeername(fd_of(x), (struct sockaddr *)&address, &bytes)
	                               : getsockname(fd_of(x), (struct sockaddr *)&address, &bytes);
	say_result(x, got);
	if (got >= 0)
		say_address(x, &address, bytes);
}

/* -- sending -------------------------------------------------------------------------------------------------------- */

/* Cuts [data, data + bytes) into `parts`; a part may be empty. */
static int cut(struct iovec *vector, int parts, unsigned char *data, size_t bytes)
{
	if (parts < 1)
		parts = 1;
	if (parts > IOV_MAX_HERE)
		parts = IOV_MAX_HERE;
	size_t each = bytes / (size_t)parts, done = 0;
	for (int i = 0; i < parts; i++) {
		size_t length = i == parts - 1 ? bytes - done : each;
		vector[i] = (struct iovec){data ? data + done : NULL, length};
		done += length;
	}
	return parts;
}

static unsigned char *stream_bytes(struct exchange *x, size_t bytes)
{
	unsigned char *data = at_least(&x->send, &x->send_bytes, bytes ? bytes : 1);
	size_t position = (size_t)number_of(x, "position", 0) % blob_bytes;
	for (size_t done = 0; done < bytes;) {
		size_t step = blob_bytes - position < bytes - done ? blob_bytes - position : bytes - done;
		memcpy(data + done, blob + position, step);
		done += step;
		position = 0;
	}
	return data;
}

static long send_from_file(int fd, const unsigned char *data, size_t bytes)
{
	int file = memfd_create("agent", 0);
	for (size_t done = 0; done < bytes;) {
		ssize_t wrote = write(file, data + done, bytes - done);
		if (wrote <= 0)
			break;
		done += (size_t)wrote;
	}
	lseek(file, 0, SEEK_SET);
	long sent = sendfile(fd, file, NULL, bytes);
	int error = errno;
	close(file);
	errno = error;
	return sent;
}

static long send_by_pipe(int fd, const unsigned char *data, size_t bytes, int flags)
{
	int ends[2];
	if (pipe(ends) < 0)
		return -1;
	ssize_t filled = write(ends[1], data, bytes);
	long sent =
		splice(ends[0], NULL, fd, NULL, filled > 0 ? (size_t)filled : 0, flags & MSG_DONTWAIT ? SPLICE_F_NONBLOCK : 0);
	int error = errno;
	close(ends[0]);
	close(ends[1]);
	errno = error;
	return sent;
}

static long send_message(struct exchange *x, unsigned char *data, size_t bytes, int flags)
{
	struct iovec vector[IOV_MAX_HERE];
	struct msghdr message = {0};
	message.msg_iov = vector;
	message.msg_iovlen = (size_t)cut(vector, (int)number_of(x, "parts", 1), data, bytes);
	return sendmsg(fd_of(x), &message, flags);
}

static long send_two_messages(struct exchange *x, unsigned char *data, size_t bytes, int flags)
{
	struct iovec vector[2];
	struct mmsghdr messages[2];
	memset(messages, 0, sizeof messages);
	cut(vector, 2, data, bytes);
	for (int i = 0; i < 2; i++) {
		messages[i].msg_hdr.msg_iov = &vector[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	long sent = sendmmsg(fd_of(x), messages, 2, flags);
	int error = errno;
	long total = 0;
	for (long i = 0; i < sent; i++)
		total += messages[i].msg_len;
	say(x, " n=%ld", total);
	errno = error;
	return sent;
}

static long send_vector(struct exchange *x, unsigned char *data, size_t bytes)
{
	struct iovec vector[IOV_MAX_HERE];
	int parts = cut(vector, (int)number_of(x, "parts", 1), data, bytes);
	return is(x, "api", "pwritev2") ? pwritev2(fd_of(x), vector, parts, -1, 0) : writev(fd_of(x), vector, parts);
}

static long send_stdio(int fd, const unsigned char *data, size_t bytes)
{
	FILE *file = fdopen(dup(fd), "w");
	if (!file)
		return -1;
	setvbuf(file, NULL, _IONBF, 0);
	size_t wrote = fwrite(data, 1, bytes, file);
	int error = errno, failed = ferror(file);
	fclose(file);
	errno = error;
	return failed && !wrote ? -1 : (long)wrote;
}

static long send_by(struct exchange *x, unsigned char *data, size_t bytes, int flags)
{
	const char *api = text_of(x, "api", "send");
	int fd = fd_of(x);
	if (strcmp(api, "sendto") == 0)
		return sendto(fd, data, bytes, flags, NULL, 0);
	if (strcmp(api, "write") == 0)
		return write(fd, data, bytes);
	if (strcmp(api, "sendmsg") == 0)
		return send_message(x, data, bytes, flags);
	if (strcmp(api, "sendmmsg") == 0)
		return send_two_messages(x, data, bytes, flags);
	if (strcmp(api, "writev") == 0 || strcmp(api, "pwritev2") == 0)
		return send_vector(x, data, bytes);
	if (strcmp(api, "sendfile") == 0)
		return send_from_file(fd, data, bytes);
	if (strcmp(api, "splice") == 0)
		return send_by_pipe(fd, data, bytes, flags);
	if (strcmp(api, "syscall") == 0)
		return syscall(SYS_sendto, fd, data, bytes, flags, NULL, 0);
	if (strcmp(api, "stdio") == 0)
		return send_stdio(fd, data, bytes);
	if (strcmp(api, "dprintf") == 0)
		return dprintf(fd, "%.*s", (int)bytes, (const char *)data);
	return send(fd, data, bytes, flags);
}

static void do_send(struct exchange *x)
{
	size_t bytes = (size_t)number_of(x, "len", 1);
	unsigned char *data = is(x, "pointer", "bad") ? (unsigned char *)BAD_POINTER : stream_bytes(x, bytes);
	say_result(x, send_by(x, data, bytes, (int)number_of(x, "flags", 0)));
}

/* -- receiving ------------------------------------------------------------------------------------------------------ */

static long receive_message(struct exchange *x, unsigned char *data, size_t bytes, int flags)
{
	struct iovec vector[IOV_MAX_HERE];
	struct msghdr message = {0};
	char control[256];
	message.msg_iov = vector;
	message.msg_iovlen = (size_t)cut(vector, (int)number_of(x, "parts", 1), data, bytes);
	message.msg_control = control;
	message.msg_controllen = sizeof control;
	long got = recvmsg(fd_of(x), &message, flags);
	int error = errno;
	if (got >= 0)
		say(x, " message_flags=%#x control=%zu", (unsigned)message.msg_flags, message.msg_controllen);
	errno = error;
	return got;
}

static long receive_two_messages(struct exchange *x, unsigned char *data, size_t bytes, int flags)
{
	struct iovec vector[2];
	struct mmsghdr messages[2];
	memset(messages, 0, sizeof messages);
	cut(vector, 2, data, bytes);
	for (int i = 0; i < 2; i++) {
		messages[i].msg_hdr.msg_iov = &vector[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	long count = recvmmsg(fd_of(x), messages, 2, flags, NULL);
	int error = errno;
	long total = 0;
	if (count > 0)
		total = messages[0].msg_len;
	if (count > 1) { /* the second lies behind a gap when the first was short */
		memmove(data + total, vector[1].iov_base, messages[1].msg_len);
		total += messages[1].msg_len;
	}
	say(x, " count=%ld", count);
	errno = error;
	return count < 0 ? count : total;
}

static long receive_vector(struct exchange *x, unsigned char *data, size_t bytes)
{
	struct iovec vector[IOV_MAX_HERE];
	int parts = cut(vector, (int)number_of(x, "parts", 1), data, bytes);
	return is(x, "api", "preadv2") ? preadv2(fd_of(x), vector, parts, -1, 0) : readv(fd_of(x), vector, parts);
}

static long receive_by_pipe(int fd, unsigned char *data, size_t bytes, int flags)
{
	int ends[2];
	if (pipe(ends) < 0)
		return -1;
	long got = splice(fd, NULL, ends[1], NULL, bytes, flags & MSG_DONTWAIT ? SPLICE_F_NONBLOCK : 0);
	int error = errno;
	if (got > 0)
		got = read(ends[0], data, (size_t)got);
	close(ends[0]);
	close(ends[1]);
	errno = error;
	return got;
}

static long receive_stdio(int fd, unsigned char *data, size_t bytes)
{
	FILE *file = fdopen(dup(fd), "r");
	if (!file)
		return -1;
	setvbuf(file, NULL, _IONBF, 0);
	size_t got = fread(data, 1, bytes, file);
	int error = errno, failed = ferror(file);
	fclose(file);
	errno = error;
	return failed && !got ? -1 : (long)got;
}

static long receive_by(struct exchange *x, unsigned char *data, size_t bytes, int flags)
{
	const char *api = text_of(x, "api", "recv");
	int fd = fd_of(x);
	struct sockaddr_storage address;
	socklen_t address_bytes = sizeof address;
	if (strcmp(api, "recvfrom") == 0)
		return recvfrom(fd, data, bytes, flags, (struct sockaddr *)&address, &address_bytes);
	if (strcmp(api, "read") == 0)
		return read(fd, data, bytes);
	if (strcmp(api, "recvmsg") == 0)
		return receive_message(x, data, bytes, flags);
	if (strcmp(api, "recvmmsg") == 0)
		return receive_two_messages(x, data, bytes, flags);
	if (strcmp(api, "readv") == 0 || strcmp(api, "preadv2") == 0)
		return receive_vector(x, data, bytes);
	if (strcmp(api, "splice") == 0)
		return receive_by_pipe(fd, data, bytes, flags);
	if (strcmp(api, "syscall") == 0)
		return syscall(SYS_recvfrom, fd, data, bytes, flags, NULL, NULL);
	if (strcmp(api, "stdio") == 0)
		return receive_stdio(fd, data, bytes);
	if (strcmp(api, "__recv_chk") == 0)
		return __recv_chk(fd, data, bytes, bytes, flags);
	if (strcmp(api, "__recvfrom_chk") == 0)
		return __recvfrom_chk(fd, data, bytes, bytes, flags, NULL, NULL);
	if (strcmp(api, "__read_chk") == 0)
		return __read_chk(fd, data, bytes, bytes);
	return recv(fd, data, bytes, flags);
}

static void do_receive(struct exchange *x)
{
	size_t bytes = (size_t)number_of(x, "len", 1);
	int flags = (int)number_of(x, "flags", 0);
	int bad = is(x, "pointer", "bad");
	unsigned char *data = at_least(&x->receive, &x->receive_bytes, bytes);
	memset(data, 0xee, bytes < 65536 ? bytes : 65536);
	long got = receive_by(x, bad ? (unsigned char *)BAD_POINTER : data, bytes, flags);
	if (lie && got > 0 && strcmp(lie, "byte") == 0)
		data[got / 2] ^= 1;
	if (lie && got > 1 && strcmp(lie, "lost") == 0)
		got--;
	if (lie && got > 0 && strcmp(lie, "asleep") == 0)
		pause();
	say_result(x, got);
	if (!bad && !(flags & MSG_TRUNC))
		say_data(x, data, got);
}

/* Reads until `want` bytes, the end or an error came; waits for each. Then asks once more what comes behind. */
static void do_drain(struct exchange *x)
{
	long wanted = number_of(x, "want", 0), want = wanted > 0 ? wanted : 0, total = 0, got = 0;
	size_t room = (size_t)want + 65536;
	unsigned char *data = at_least(&x->receive, &x->receive_bytes, room);
	int fd = fd_of(x), error = 0;
	for (;;) {
		got = recv(fd, data + total, room - (size_t)total, MSG_DONTWAIT);
		error = errno;
		if (got > 0 && (size_t)(total += got) < room)
			continue;
		if (got >= 0 || error != EAGAIN || total >= want)
			break;
		struct pollfd item = {fd, POLLIN, 0};
		if (poll(&item, 1, 3000) == 0)
			break;
	}
	errno = error;
	say_result(x, got);
	if (total)
		say_data(x, data, total);
	else
		say(x, " n=0");
}

/* -- descriptors and options ---------------------------------------------------------------------------------------- */

static void do_shutdown(struct exchange *x)
{
	say_result(x, shutdown(fd_of(x), (int)number_of(x, "how", SHUT_WR)));
}

static void do_close(struct exchange *x)
{
	say_result(x, close(fd_of(x)));
}

static void do_close_range(struct exchange *x)
{
	say_result(x, close_range((unsigned)fd_of(x), (unsigned)fd_of(x), 0));
}

static void do_dup(struct exchange *x)
{
	int fd = fd_of(x), target = (int)number_of(x, "target", 60);
	if (is(x, "api", "dup2"))
		say_result(x, dup2(fd, target));
	else if (is(x, "api", "dup3"))
		say_result(x, dup3(fd, target, O_CLOEXEC));
	else if (is(x, "api", "fcntl"))
		say_result(x, fcntl(fd, F_DUPFD_CLOEXEC, target));
	else
		say_result(x, dup(fd));
}

static void do_fcntl(struct exchange *x)
{
	say_result(x, fcntl(fd_of(x), (int)number_of(x, "command", F_GETFL), number_of(x, "value", 0)));
}

static void do_ioctl(struct exchange *x)
{
	int value = (int)number_of(x, "value", 0);
	const char *name = text_of(x, "api", "FIONREAD");
	unsigned long request = strcmp(name, "FIONBIO") == 0      ? FIONBIO
	                        : strcmp(name, "SIOCOUTQ") == 0   ? SIOCOUTQ
	                        : strcmp(name, "SIOCATMARK") == 0 ? SIOCATMARK
	                                                          : FIONREAD;
	int got = ioctl(fd_of(x), request, is(x, "pointer", "bad") ? (int *)BAD_POINTER : &value);
	if (lie && strcmp(lie, "FIONREAD") == 0 && request == FIONREAD && value)
		value++;
	say_result(x, got);
	if (got >= 0 && request != FIONBIO)
		say(x, " value=%d", value);
}

static void do_setsockopt(struct exchange *x)
{
	int level = (int)number_of(x, "level", SOL_SOCKET), name = (int)number_of(x, "name", 0);
	int value = (int)number_of(x, "value", 0);
	struct timeval interval = {value / 1000000, value % 1000000};
	struct linger linger = {(int)number_of(x, "on", 1), value};
	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
		say_result(x, setsockopt(fd_of(x), level, name, &interval, sizeof interval));
	else if (level == SOL_SOCKET && name == SO_LINGER)
		say_result(x, setsockopt(fd_of(x), level, name, &linger, sizeof linger));
	else
		say_result(x, setsockopt(fd_of(x), level, name, &value, sizeof value));
}

static void do_getsockopt(struct exchange *x)
{
	int level = (int)number_of(x, "level", SOL_SOCKET), name = (int)number_of(x, "name", 0);
	unsigned char value[512] = {0};
	socklen_t bytes = (socklen_t)number_of(x, "bytes", level == IPPROTO_TCP && name == TCP_INFO ? 104 : 16);
	int got = getsockopt(fd_of(x), level, name, value, &bytes);
	say_result(x, got);
	if (got < 0)
		return;
	if (level == IPPROTO_TCP && name == TCP_INFO) {
		say(x, " state=%d", value[0]);
		return;
	}
	say(x, " value=");
	for (socklen_t i = 0; i < bytes; i++)
		say(x, "%02x", value[i]);
}

static void do_pipe(struct exchange *x)
{
	int ends[2] = {-1, -1};
	say_result(x, pipe2(ends, (int)number_of(x, "flags", 0)));
	say(x, " fds=%d,%d", ends[0], ends[1]);
}

static void do_eventfd(struct exchange *x)
{
	say_result(x, eventfd((unsigned)number_of(x, "value", 0), (int)number_of(x, "flags", EFD_NONBLOCK)));
}

static void do_timerfd(struct exchange *x)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	long after_us = number_of(x, "after_us", 1000);
	struct itimerspec when = {{0, 0}, {after_us / 1000000, after_us % 1000000 * 1000}};
	timerfd_settime(fd, 0, &when, NULL);
	say_result(x, fd);
}

static void do_write_file(struct exchange *x)
{
	uint64_t one = 1;
	say_result(x, write(fd_of(x), &one, sizeof one));
}

static void do_read_file(struct exchange *x)
{
	uint64_t value = 0;
	say_result(x, read(fd_of(x), &value, sizeof value));
	say(x, " value=%llu", (unsigned long long)value);
}

/* -- readiness ------------------------------------------------------------------------------------------------------ */

/* items is `fd:events,fd:events`. */
static int items_of(const struct exchange *x, struct pollfd *items)
{
	int count = 0;
	char *rest = NULL, copy[512];
	snprintf(copy, sizeof copy, "%s", text_of(x, "items", ""));
	for (char *item = strtok_r(copy, ",", &rest); item && count < ITEMS_MAX; item = strtok_r(NULL, ",", &rest)) {
		char *colon = strchr(item, ':');
		items[count].fd = atoi(item);
		items[count].events = colon ? (short)strtol(colon + 1, NULL, 0) : POLLIN;
		items[count++].revents = 0;
	}
	return count;
}

/* unmask: the signals that wait are let through while the call sleeps. */
static sigset_t *mask_of(const struct exchange *x, sigset_t *mask)
{
	if (!is(x, "mask", "empty"))
		return NULL;
	sigemptyset(mask);
	return mask;
}

static struct timespec *timespec_of(long timeout_ms, struct timespec *interval)
{
	if (timeout_ms < 0)
		return NULL;
	*interval = (struct timespec){timeout_ms / 1000, timeout_ms % 1000 * 1000000};
	return interval;
}

static void do_poll(struct exchange *x)
{
	struct pollfd items[ITEMS_MAX];
	int count = items_of(x, items);
	long timeout_ms = number_of(x, "timeout_ms", 0);
	struct timespec interval;
	sigset_t mask;
	int got;
	if (is(x, "api", "ppoll"))
		got = ppoll(items, (nfds_t)count, timespec_of(timeout_ms, &interval), mask_of(x, &mask));
	else if (is(x, "api", "__poll_chk"))
		got = __poll_chk(items, (nfds_t)count, (int)timeout_ms, sizeof items);
	else
		got = poll(items, (nfds_t)count, (int)timeout_ms);
	say_result(x, got);
	if (got < 0)
		return;
	say(x, " events=");
	for (int i = 0; i < count; i++)
		say(x, "%s%#x", i ? "," : "", (unsigned)(unsigned short)items[i].revents);
}

static int select_by(struct exchange *x, int top, fd_set sets[3], long timeout_ms)
{
	struct timespec interval;
	struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
	sigset_t mask;
	if (is(x, "api", "pselect"))
		return pselect(top, &sets[0], &sets[1], &sets[2], timespec_of(timeout_ms, &interval), mask_of(x, &mask));
	return select(top, &sets[0], &sets[1], &sets[2], timeout_ms < 0 ? NULL : &tv);
}

static void do_select(struct exchange *x)
{
	struct pollfd items[ITEMS_MAX];
	int count = items_of(x, items), top = 0;
	fd_set sets[3];
	for (int kind = 0; kind < 3; kind++)
		FD_ZERO(&sets[kind]);
	for (int i = 0; i < count; i++) {
		if (items[i].fd < 0)
			continue;
		for (int kind = 0; kind < 3; kind++)
			if (items[i].events & (1 << kind))
				FD_SET(items[i].fd, &sets[kind]);
		top = items[i].fd >= top ? items[i].fd + 1 : top;
	}
	int got = select_by(x, top, sets, number_of(x, "timeout_ms", 0));
	say_result(x, got);
	if (got < 0)
		return;
	say(x, " events=");
	for (int i = 0; i < count; i++) {
		unsigned ready = 0;
		for (int kind = 0; kind < 3 && items[i].fd >= 0; kind++)
			ready |= FD_ISSET(items[i].fd, &sets[kind]) ? 1u << kind : 0;
		say(x, "%s%#x", i ? "," : "", ready);
	}
}

static void do_epoll_create(struct exchange *x)
{
	say_result(x, epoll_create1((int)number_of(x, "flags", 0)));
}

static void do_epoll_ctl(struct exchange *x)
{
	struct epoll_event event = {(uint32_t)number_of(x, "events", EPOLLIN), {.u64 = (uint64_t)number_of(x, "data", 0)}};
	int op = (int)number_of(x, "op", EPOLL_CTL_ADD);
	say_result(x, epoll_ctl((int)number_of(x, "epfd", -1), op, fd_of(x), is(x, "pointer", "null") ? NULL : &event));
}

static void do_epoll_wait(struct exchange *x)
{
	struct epoll_event events[ITEMS_MAX];
	int epfd = (int)number_of(x, "epfd", -1), most = (int)number_of(x, "most", ITEMS_MAX);
	long timeout_ms = number_of(x, "timeout_ms", 0);
	struct timespec interval;
	sigset_t mask;
	int got;
	memset(events, 0, sizeof events);
	if (is(x, "api", "epoll_pwait2"))
		got = epoll_pwait2(epfd, events, most, timespec_of(timeout_ms, &interval), mask_of(x, &mask));
	else if (is(x, "api", "epoll_pwait"))
		got = epoll_pwait(epfd, events, most, (int)timeout_ms, mask_of(x, &mask));
	else
		got = epoll_wait(epfd, events, most, (int)timeout_ms);
	say_result(x, got);
	if (got < 0)
		return;
	say(x, " events=");
	for (int i = 0; i < got; i++)
		say(x, "%s%llu:%#x", i ? "," : "", (unsigned long long)events[i].data.u64, events[i].events);
}

/* -- signals and processes ------------------------------------------------------------------------------------------ */

static void on_signal(int number)
{
	signals_seen[number]++;
}

static void do_sigaction(struct exchange *x)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = is(x, "mode", "default") ? SIG_DFL : is(x, "mode", "ignore") ? SIG_IGN : on_signal;
	action.sa_flags = is(x, "mode", "restart") ? SA_RESTART : 0;
	say_result(x, sigaction((int)number_of(x, "signal", SIGUSR1), &action, NULL));
}

static void do_sigprocmask(struct exchange *x)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, (int)number_of(x, "signal", SIGUSR1));
	say_result(x, sigprocmask(is(x, "how", "block") ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL));
}

static void do_alarm(struct exchange *x)
{
	long after_us = number_of(x, "after_us", 10000);
	struct itimerval when = {{0, 0}, {after_us / 1000000, after_us % 1000000}};
	say_result(x, setitimer(ITIMER_REAL, &when, NULL));
}

static void serve(int channel);

static void do_fork(struct exchange *x)
{
	int channel = (int)number_of(x, "channel", 2);
	pid_t child = fork();
	if (child == 0) {
		if (x->channel >= 0)
			raw3(SYS_close, CHANNEL_FD + x->channel, 0, 0);
		memset((void *)signals_seen, 0, sizeof signals_seen);
		serve(channel);
	}
	raw3(SYS_close, CHANNEL_FD + channel, 0, 0);
	say_result(x, child);
}

/* Becomes the agent anew, with the descriptors that survive; env=drop: as a program that is not under Byway. */
static void do_exec(struct exchange *x)
{
	char channel[16];
	snprintf(channel, sizeof channel, "%d", x->channel);
	char path[512];
	snprintf(path, sizeof path, "%s", getenv(agent_path_env) ? getenv(agent_path_env) : "");
	if (is(x, "env", "drop"))
		unsetenv("LD_PRELOAD");
	char *arguments[] = {path, channel, getenv("BYWAY_AGENT_BLOB"), (char *)"exec", NULL};
	execv(path, arguments);
	say_result(x, -1);
}

static void do_exit(struct exchange *x)
{
	_exit((int)number_of(x, "code", 0));
}

static void do_wait(struct exchange *x)
{
	int status = 0;
	pid_t got = waitpid((pid_t)number_of(x, "pid", -1), &status, 0);
	say_result(x, got);
	say(x, " status=%#x", (unsigned)status);
}

static void do_send_fd(struct exchange *x)
{
	int passed = (int)number_of(x, "passed", -1);
	char control[CMSG_SPACE(sizeof(int))], byte = 'f';
	struct iovec vector = {&byte, 1};
	struct msghdr message = {0};
	memset(control, 0, sizeof control);
	message.msg_iov = &vector;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof control;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &passed, sizeof passed);
	say_result(x, sendmsg(fd_of(x), &message, 0));
}

static void do_receive_fd(struct exchange *x)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec vector = {&byte, 1};
	struct msghdr message = {0};
	int passed = -1;
	message.msg_iov = &vector;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof control;
	long got = recvmsg(fd_of(x), &message, MSG_DONTWAIT);
	say_result(x, got);
	struct cmsghdr *header = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&passed, CMSG_DATA(header), sizeof passed);
	say(x, " fds=%d", passed);
}

/* -- the loop ------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*call)(struct exchange *);
} calls[] = {
	{"socket", do_socket},
	{"socketpair", do_socketpair},
	{"bind", do_bind},
	{"connect", do_connect},
	{"listen", do_listen},
	{"accept", do_accept},
	{"name", do_name},
	{"send", do_send},
	{"recv", do_receive},
	{"drain", do_drain},
	{"shutdown", do_shutdown},
	{"close", do_close},
	{"close_range", do_close_range},
	{"dup", do_dup},
	{"fcntl", do_fcntl},
	{"ioctl", do_ioctl},
	{"setsockopt", do_setsockopt},
	{"getsockopt", do_getsockopt},
	{"pipe", do_pipe},
	{"eventfd", do_eventfd},
	{"timerfd", do_timerfd},
	{"write_file", do_write_file},
	{"read_file", do_read_file},
	{"poll", do_poll},
	{"select", do_select},
	{"epoll_create", do_epoll_create},
	{"epoll_ctl", do_epoll_ctl},
	{"epoll_wait", do_epoll_wait},
	{"sigaction", do_sigaction},
	{"sigprocmask", do_sigprocmask},
	{"alarm", do_alarm},
	{"fork", do_fork},
	{"exec", do_exec},
	{"exit", do_exit},
	{"wait", do_wait},
	{"send_fd", do_send_fd},
	{"recv_fd", do_receive_fd},
};

static const char *split(struct exchange *x)
{
	char *rest = NULL;
	const char *name = strtok_r(x->line, " \n", &rest);
	x->argument_count = 0;
	for (char *token; (token = strtok_r(NULL, " \n", &rest)) && x->argument_count < ARGUMENTS_MAX;) {
		char *equals = strchr(token, '=');
		if (!equals)
			continue;
		*equals = 0;
		x->arguments[x->argument_count++] = (struct argument){token, equals + 1};
	}
	return name ? name : "";
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void say_signals(struct exchange *x)
{
	int any = 0;
	for (int i = 1; i < 65; i++)
		if (signals_seen[i]) {
			say(x, "%s%d*%d", any++ ? "," : " signals=", i, (int)signals_seen[i]);
			signals_seen[i] = 0;
		}
}

static void obey(struct exchange *x)
{
	const char *name = split(x);
	int64_t began = now_us();
	x->answer_bytes = 0;
	if (strcmp(name, "nothing") == 0) { /* only shows that we live, and have had our signals */
		say(x, " r=0");
		return;
	}
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
		if (strcmp(calls[i].name, name) == 0) {
			errno = 0;
			calls[i].call(x);
			say(x, " us=%lld", (long long)(now_us() - began));
			say_signals(x);
			return;
		}
	say(x, " unknown=%s", name);
}

static void hello(int channel)
{
	char text[64];
	int bytes = snprintf(text, sizeof text, "hello tid=%ld", raw3(SYS_gettid, 0, 0, 0));
	channel_write(channel, text, (size_t)bytes);
}

static void serve(int channel)
{
	struct exchange *x = calloc(1, sizeof *x);
	if (!x)
		_exit(99);
	x->channel = channel;
	hello(channel);
	for (;;) {
		long got = channel_read(channel, x->line, LINE_BYTES - 1);
		if (got <= 0)
			_exit(0);
		x->line[got] = 0;
		obey(x);
		channel_write(channel, x->answer, x->answer_bytes);
	}
}

static void *second_thread(void *unused)
{
	(void)unused;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	serve(1);
	return NULL;
}

static void map_blob(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);
	blob = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (blob == MAP_FAILED)
		_exit(98);
	blob_bytes = (size_t)size;
	close(fd);
}

/* agent CHANNEL BLOB (one|threads|exec) */
int main(int argc, char **argv)
{
	if (argc < 4)
		return 97;
	map_blob(argv[2]);
	setenv("BYWAY_AGENT_BLOB", argv[2], 1);
	lie = getenv(lie_env);
	pthread_t thread;
	if (strcmp(argv[3], "threads") == 0)
		pthread_create(&thread, NULL, second_thread, NULL);
	serve(atoi(argv[1]));
}
