/* Data calls: send and receive in all their spellings (send(2), recv(2), readv(2), sendfile(2), splice(2)) but those of
 * messages.c.
 *
 * Decides for each call whether it goes by the engine or by the kernel: the gate, and before it what only the kernel knows
 * how to do. Callers: the program, and messages.c by data.h. No lock is held. */
#define _GNU_SOURCE
#include <aio.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/sys.h"
#include "interpose/data.h"
#include "interpose/interpose.h"
#include "wait/block.h"
#include "wait/sleep.h"

#define TRANSFER_BYTES_MAX 0x7ffff000u /* MAX_RW_COUNT of Linux */
#define FILE_CHUNK_BYTES 65536
#define SMALL_FILE_BYTES 4096

ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes);
ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes, int flags, struct sockaddr *address,
                       socklen_t *address_bytes);
void __chk_fail(void) __attribute__((noreturn));

/* -- common ---------------------------------------------------------------------------------------------------------- */

/* What the kernel alone knows how to do is done by the kernel, for good. */
static void leave_unusual(struct sock *sock, int fd, int flags)
{
	if (flags & MSG_OOB)
		sock_never(sock, fd, reason_out_of_band); /* what lies in the ring stays before it */
	else if (flags & (MSG_ZEROCOPY | MSG_FASTOPEN))
		sock_into_kernel(sock, fd, reason_option);
}

static void attach_first(struct sock *sock, int fd, enum sock_call call)
{
	if (unlikely(!options.attach_after && sock->stage == STAGE_NEW))
		sock_note_call(sock, fd, call);
}

static void raise_pipe(long result, int flags)
{
	if (result == -EPIPE && !(flags & MSG_NOSIGNAL))
		sys_kill_thread(sys_getpid(), thread_id(), SIGPIPE);
}

static void cursor_start(struct cursor *cursor, const struct iovec *pieces, size_t count)
{
	*cursor = (struct cursor){.pieces = pieces, .count = count};
	for (size_t i = 0; i < count; i++)
		cursor->left += pieces[i].iov_len;
	if (cursor->left > TRANSFER_BYTES_MAX)
		cursor->left = TRANSFER_BYTES_MAX;
}

/* Copies the program's array in and checks it as the kernel does. Bytes of all pieces, or a negative errno. */
static long pieces_copy(struct iovec *to, const struct iovec *from, size_t count)
{
	size_t total = 0;

	if (copy_guarded(to, from, count * sizeof(*to)))
		return -EFAULT;
	for (size_t i = 0; i < count; i++) {
		if ((ssize_t)to[i].iov_len < 0)
			return -EINVAL;
		total += to[i].iov_len;
	}
	return total > SSIZE_MAX ? -EINVAL : (long)total;
}

/* A send of no bytes finds out whether the connection takes any. */
static long send_nothing(struct sock *sock, int fd, int flags)
{
	local_check_end(&sock->end, fd);
	if (load_relaxed(&sock->shared->pending_error))
		return -(long)exchange(&sock->shared->pending_error, 0);
	return sys_sendto(fd, NULL, 0, flags | MSG_NOSIGNAL);
}

static long engine_send(struct sock *sock, int fd, const struct iovec *pieces, size_t count, int flags)
{
	struct cursor from;
	long result;

	sleep_cancel_point();
	cursor_start(&from, pieces, count);
	result = from.left ? block_send(sock, fd, &from, flags) : send_nothing(sock, fd, flags);
	raise_pipe(result, flags);
	return interpose_result(result);
}

static long engine_recv(struct sock *sock, int fd, const struct iovec *pieces, size_t count, int flags)
{
	struct cursor to;

	sleep_cancel_point();
	cursor_start(&to, pieces, count);
	to.discard = (flags & MSG_TRUNC) != 0;
	return interpose_result(block_recv(sock, fd, &to, flags));
}

long data_send_vector(struct sock *sock, int fd, const struct iovec *pieces, size_t count, int flags)
{
	struct iovec copied[PIECES_MAX];
	long total = pieces_copy(copied, pieces, count);

	return total < 0 ? interpose_result(total) : engine_send(sock, fd, copied, count, flags);
}

/* writev(2) of nothing does not get as far as the socket. */
static long engine_writev(struct sock *sock, int fd, const struct iovec *pieces, size_t count)
{
	struct iovec copied[PIECES_MAX];
	long total = pieces_copy(copied, pieces, count);

	return total > 0 ? engine_send(sock, fd, copied, count, 0) : interpose_result(total);
}

long data_recv_vector(struct sock *sock, int fd, const struct iovec *pieces, size_t count, int flags)
{
	struct iovec copied[PIECES_MAX];
	long total = pieces_copy(copied, pieces, count);

	return total < 0 ? interpose_result(total) : engine_recv(sock, fd, copied, count, flags);
}

static long engine_readv(struct sock *sock, int fd, const struct iovec *pieces, size_t count)
{
	struct iovec copied[PIECES_MAX];
	long total = pieces_copy(copied, pieces, count);

	return total > 0 ? engine_recv(sock, fd, copied, count, 0) : interpose_result(total);
}

int data_send_begins(struct sock *sock, int fd, int flags)
{
	if (unlikely(flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN)))
		leave_unusual(sock, fd, flags);
	if (sock_is_engine(sock) && likely(!(flags & MSG_ZEROCOPY))) /* out-of-band data too: a hand back keeps it out */
		return sock_enter(sock, fd);
	if (!sock_is_engine(sock))
		sock_note_call(sock, fd, SOCK_CALL_SEND);
	if (flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN)) {
		fetch_add(&sock->gate, 1);
		return 0;
	}
	return sock_enter(sock, fd);
}

int data_recv_begins(struct sock *sock, int fd, int flags)
{
	if (unlikely(flags & (MSG_OOB | MSG_ERRQUEUE))) {
		if (flags & MSG_OOB) {
			leave_unusual(sock, fd, flags);
			fetch_or(&sock->shared->flags, SOCK_URGENT);
		}
		fetch_add(&sock->gate, 1);
		return 0;
	}
	attach_first(sock, fd, SOCK_CALL_RECV);
	return sock_enter(sock, fd);
}

long data_recv_ends(struct sock *sock, int fd, long result)
{
	int saved_errno = errno;

	sock_leave(sock);
	if (result > 0)
		sock_note_call(sock, fd, SOCK_CALL_RECV);
	errno = saved_errno;
	return result;
}

long data_send_ends(struct sock *sock, long result)
{
	sock_leave(sock);
	return result;
}

/* -- sending ----------------------------------------------------------------------------------------------------------- */

APART ssize_t send_ours(struct sock *sock, int fd, const void *buffer, size_t bytes, int flags,
                        const struct sockaddr *address, socklen_t address_bytes)
{
	struct iovec piece = {(void *)(uintptr_t)buffer, bytes};

	if (data_send_begins(sock, fd, flags))
		return engine_send(sock, fd, &piece, 1, flags);
	return data_send_ends(sock, REAL(sendto)(fd, buffer, bytes, flags, address, address_bytes));
}

EXPORT ssize_t send(int fd, const void *buffer, size_t bytes, int flags)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(send)(fd, buffer, bytes, flags) : send_ours(sock, fd, buffer, bytes, flags, NULL, 0);
}

EXPORT_AS(__send, send);

EXPORT ssize_t sendto(int fd, const void *buffer, size_t bytes, int flags, const struct sockaddr *address,
                      socklen_t address_bytes)
{
	struct sock *sock = sock_of(fd);

	if (likely(!sock))
		return REAL(sendto)(fd, buffer, bytes, flags, address, address_bytes);
	return send_ours(sock, fd, buffer, bytes, flags, address, address_bytes);
}

APART ssize_t write_ours(struct sock *sock, int fd, const void *buffer, size_t bytes)
{
	struct iovec piece = {(void *)(uintptr_t)buffer, bytes};

	if (data_send_begins(sock, fd, 0))
		return engine_send(sock, fd, &piece, 1, 0);
	return data_send_ends(sock, REAL(write)(fd, buffer, bytes));
}

EXPORT ssize_t write(int fd, const void *buffer, size_t bytes)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(write)(fd, buffer, bytes) : write_ours(sock, fd, buffer, bytes);
}

EXPORT_AS(__write, write);

APART ssize_t writev_ours(struct sock *sock, int fd, const struct iovec *pieces, int count)
{
	if (count >= 0 && count <= PIECES_MAX && data_send_begins(sock, fd, 0))
		return engine_writev(sock, fd, pieces, (size_t)count);
	if (count < 0 || count > PIECES_MAX)
		return interpose_result(-EINVAL);
	return data_send_ends(sock, REAL(writev)(fd, pieces, count));
}

EXPORT ssize_t writev(int fd, const struct iovec *pieces, int count)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(writev)(fd, pieces, count) : writev_ours(sock, fd, pieces, count);
}

/* At the present place, on a socket of ours: which of the kernel's ways of doing it we have. */
static int is_stream_call(struct sock *sock, int fd, int count, off_t offset, int flags)
{
	if (offset != -1 || count < 0 || count > PIECES_MAX)
		return 0;
	if (!(flags & ~RWF_NOWAIT))
		return 1;
	sock_into_kernel(sock, fd, reason_option);
	return 0;
}

APART ssize_t pwritev2_ours(struct sock *sock, int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
	if (!is_stream_call(sock, fd, count, offset, flags))
		return REAL(pwritev2)(fd, pieces, count, offset, flags);
	if (!flags)
		return writev(fd, pieces, count);
	if (data_send_begins(sock, fd, MSG_DONTWAIT))
		return data_send_vector(sock, fd, pieces, (size_t)count, MSG_DONTWAIT);
	return data_send_ends(sock, REAL(pwritev2)(fd, pieces, count, offset, flags));
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
	struct sock *sock = sock_of(fd);

	if (likely(!sock))
		return REAL(pwritev2)(fd, pieces, count, offset, flags);
	return pwritev2_ours(sock, fd, pieces, count, offset, flags);
}

EXPORT_AS(pwritev64v2, pwritev2);

/* -- receiving --------------------------------------------------------------------------------------------------------- */

APART ssize_t recv_ours(struct sock *sock, int fd, void *buffer, size_t bytes, int flags, struct sockaddr *address,
                        socklen_t *address_bytes)
{
	struct iovec piece = {buffer, bytes};
	socklen_t none = 0;
	ssize_t received;

	if (!data_recv_begins(sock, fd, flags))
		return data_recv_ends(sock, fd, REAL(recvfrom)(fd, buffer, bytes, flags, address, address_bytes));
	received = engine_recv(sock, fd, &piece, 1, flags);
	if (received >= 0 && address && copy_guarded(address_bytes, &none, sizeof(none))) /* a stream has no addresses */
		return interpose_result(-EFAULT);
	return received;
}

EXPORT ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(recv)(fd, buffer, bytes, flags) : recv_ours(sock, fd, buffer, bytes, flags, NULL, NULL);
}

EXPORT ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes, int flags)
{
	if (bytes > buffer_bytes)
		__chk_fail();
	return recv(fd, buffer, bytes, flags);
}

EXPORT ssize_t recvfrom(int fd, void *buffer, size_t bytes, int flags, struct sockaddr *address,
                        socklen_t *address_bytes)
{
	struct sock *sock = sock_of(fd);

	if (likely(!sock))
		return REAL(recvfrom)(fd, buffer, bytes, flags, address, address_bytes);
	return recv_ours(sock, fd, buffer, bytes, flags, address, address_bytes);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes, int flags,
                              struct sockaddr *address, socklen_t *address_bytes)
{
	if (bytes > buffer_bytes)
		__chk_fail();
	return recvfrom(fd, buffer, bytes, flags, address, address_bytes);
}

APART ssize_t read_ours(struct sock *sock, int fd, void *buffer, size_t bytes)
{
	struct iovec piece = {buffer, bytes};

	if (data_recv_begins(sock, fd, 0))
		return bytes ? engine_recv(sock, fd, &piece, 1, 0) : 0;
	return data_recv_ends(sock, fd, REAL(read)(fd, buffer, bytes));
}

EXPORT ssize_t read(int fd, void *buffer, size_t bytes)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(read)(fd, buffer, bytes) : read_ours(sock, fd, buffer, bytes);
}

EXPORT_AS(__read, read);

EXPORT ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t buffer_bytes)
{
	if (bytes > buffer_bytes)
		__chk_fail();
	return read(fd, buffer, bytes);
}

APART ssize_t readv_ours(struct sock *sock, int fd, const struct iovec *pieces, int count)
{
	if (count < 0 || count > PIECES_MAX)
		return interpose_result(-EINVAL);
	if (data_recv_begins(sock, fd, 0))
		return engine_readv(sock, fd, pieces, (size_t)count);
	return data_recv_ends(sock, fd, REAL(readv)(fd, pieces, count));
}

EXPORT ssize_t readv(int fd, const struct iovec *pieces, int count)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(readv)(fd, pieces, count) : readv_ours(sock, fd, pieces, count);
}

APART ssize_t preadv2_ours(struct sock *sock, int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
	if (!is_stream_call(sock, fd, count, offset, flags))
		return REAL(preadv2)(fd, pieces, count, offset, flags);
	if (!flags)
		return readv(fd, pieces, count);
	if (data_recv_begins(sock, fd, MSG_DONTWAIT))
		return data_recv_vector(sock, fd, pieces, (size_t)count, MSG_DONTWAIT);
	return data_recv_ends(sock, fd, REAL(preadv2)(fd, pieces, count, offset, flags));
}

EXPORT ssize_t preadv2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
	struct sock *sock = sock_of(fd);

	if (likely(!sock))
		return REAL(preadv2)(fd, pieces, count, offset, flags);
	return preadv2_ours(sock, fd, pieces, count, offset, flags);
}

EXPORT_AS(preadv64v2, preadv2);

/* -- files and pipes --------------------------------------------------------------------------------------------------- */

/* Sends from the file at `offset` by the engine; the file's bytes are read again when only some of them could be sent. */
static long send_from_file(struct sock *sock, int fd, int file, off_t *offset, size_t count, char *chunk,
                           size_t chunk_bytes)
{
	size_t done = 0;

	while (done < count) {
		size_t wanted = count - done < chunk_bytes ? count - done : chunk_bytes;
		long bytes = SYS4(SYS_pread64, file, chunk, wanted, *offset);
		struct iovec piece = {chunk, bytes > 0 ? (size_t)bytes : 0};
		struct cursor from;
		long sent;

		if (bytes <= 0)
			return done ? (long)done : bytes;
		cursor_start(&from, &piece, 1);
		sent = block_send(sock, fd, &from, 0);
		if (sent < 0)
			return done ? (long)done : sent;
		*offset += sent;
		done += (size_t)sent;
		if (sent < bytes)
			break;
	}
	return (long)done;
}

/* A large file goes through memory of its own: a thread may have little stack. */
static long send_file(struct sock *sock, int fd, int file, off_t *offset, size_t count)
{
	char small[SMALL_FILE_BYTES];
	char *large = count > sizeof(small) ? memory_private(FILE_CHUNK_BYTES) : NULL;
	long sent =
		send_from_file(sock, fd, file, offset, count, large ? large : small, large ? FILE_CHUNK_BYTES : sizeof(small));

	memory_release(large, FILE_CHUNK_BYTES);
	return sent;
}

static ssize_t sendfile_by_engine(struct sock *sock, int fd, int file, off_t *offset, size_t count)
{
	off_t at;
	long sent;

	sleep_cancel_point();
	if (offset ? copy_guarded(&at, offset, sizeof(at)) : (at = lseek(file, 0, SEEK_CUR)) < 0) {
		sock_into_kernel(sock, fd, reason_splice);
		return REAL(sendfile)(fd, file, offset, count);
	}
	if (count > TRANSFER_BYTES_MAX)
		count = TRANSFER_BYTES_MAX;
	sent = send_file(sock, fd, file, &at, count);
	raise_pipe(sent, 0);
	if (sent > 0 && offset)
		copy_guarded(offset, &at, sizeof(at));
	else if (sent > 0)
		lseek(file, at, SEEK_SET);
	return interpose_result(sent);
}

APART ssize_t sendfile_ours(struct sock *sock, int fd, int file, off_t *offset, size_t count)
{
	if (data_send_begins(sock, fd, 0))
		return sendfile_by_engine(sock, fd, file, offset, count);
	return data_send_ends(sock, REAL(sendfile)(fd, file, offset, count));
}

EXPORT ssize_t sendfile(int fd, int file, off_t *offset, size_t count)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(sendfile)(fd, file, offset, count) : sendfile_ours(sock, fd, file, offset, count);
}

EXPORT_AS(sendfile64, sendfile);

EXPORT ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t bytes, unsigned flags)
{
	struct sock *in_sock = sock_of(in), *out_sock = sock_of(out);

	if (in_sock)
		sock_into_kernel(in_sock, in, reason_splice);
	if (out_sock)
		sock_into_kernel(out_sock, out, reason_splice);
	return REAL(splice)(in, in_offset, out, out_offset, bytes, flags);
}

/* -- aio(7): libc reads and writes by threads of its own --------------------------------------------------------------------- */

static void aio_begins(const struct aiocb *call)
{
	struct sock *sock = call ? sock_of(call->aio_fildes) : NULL;

	if (sock)
		sock_into_kernel(sock, call->aio_fildes, reason_stdio);
}

EXPORT int aio_read(struct aiocb *call)
{
	aio_begins(call);
	return REAL(aio_read)(call);
}

EXPORT_AS(aio_read64, aio_read);

EXPORT int aio_write(struct aiocb *call)
{
	aio_begins(call);
	return REAL(aio_write)(call);
}

EXPORT_AS(aio_write64, aio_write);

EXPORT int lio_listio(int mode, struct aiocb *const calls[], int count, struct sigevent *event)
{
	for (int i = 0; i < count; i++)
		aio_begins(calls[i]);
	return REAL(lio_listio)(mode, calls, count, event);
}

EXPORT_AS(lio_listio64, lio_listio);
