/* Data calls with messages: sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2).
 *
 * Decides what becomes of a message's other parts: a stream has no addresses and gets no control data from the engine, what
 * is sent with control data is the kernel's. Descriptors of ours may pass through any socket: those that a message gives
 * away go into the kernel before, those that come are recognised. Caller: the program. No lock is held. */
#define _GNU_SOURCE
#include <sys/socket.h>

#include "base/copy.h"
#include "base/fault.h"
#include "base/sys.h"
#include "interpose/data.h"
#include "interpose/interpose.h"

FAULT_LOADS(messages);

/* A field of the program's structure, wherever that may be. */
static inline const void *field_at(const void *structure, size_t offset)
{
	return (const void *)((uintptr_t)structure + offset);
}

/* Calls `visit` with each descriptor in the control data of `message`; ends at what the kernel would refuse. */
static void visit_passed(const struct msghdr *message, void (*visit)(int fd))
{
	const uint8_t *control = message->msg_control;
	size_t next;
	int fd;

	for (size_t at = 0; at + sizeof(struct cmsghdr) <= message->msg_controllen; at = next) {
		struct cmsghdr head;

		if (copy_guarded(&head, control + at, sizeof(head)) || head.cmsg_len < sizeof(head) ||
		    head.cmsg_len > message->msg_controllen - at)
			return;
		next = at + CMSG_ALIGN(head.cmsg_len);
		if (head.cmsg_level != SOL_SOCKET || head.cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = at + CMSG_LEN(0); i + sizeof(fd) <= at + head.cmsg_len; i += sizeof(fd))
			if (!copy_guarded(&fd, control + i, sizeof(fd)))
				visit(fd);
	}
}

/* -- sending ----------------------------------------------------------------------------------------------------------- */

APART ssize_t sendmsg_ours(struct sock *sock, int fd, const struct msghdr *message, int flags)
{
	struct msghdr copied;

	if (copy_guarded(&copied, message, sizeof(copied)))
		return interpose_result(-EFAULT);
	if (copied.msg_controllen)
		sock_into_kernel(sock, fd, reason_option);
	if (copied.msg_iovlen > PIECES_MAX)
		return interpose_result(-EMSGSIZE);
	if (data_send_begins(sock, fd, flags)) {
		if (!copied.msg_controllen)
			return data_send_vector(sock, fd, copied.msg_iov, copied.msg_iovlen, flags);
		return REAL(sendmsg)(fd, message, flags);
	}
	return data_send_ends(sock, REAL(sendmsg)(fd, message, flags));
}

APART ssize_t sendmsg_known(int fd, const struct msghdr *message, int flags)
{
	struct sock *sock = sock_of(fd);
	struct msghdr copied;

	if (sock)
		return sendmsg_ours(sock, fd, message, flags);
	if (copy_guarded(&copied, message, sizeof(copied)))
		return REAL(sendmsg)(fd, message, flags);
	if (copied.msg_controllen)
		visit_passed(&copied, interpose_give_away);
	return REAL(sendmsg)(fd, message, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (likely(!fault_load(field_at(message, offsetof(struct msghdr, msg_controllen)))) && is_foreign(fd))
		return REAL(sendmsg)(fd, message, flags);
	return sendmsg_known(fd, message, flags);
}

static void give_away_all_passed(const struct mmsghdr *messages, unsigned count)
{
	struct msghdr copied;

	for (unsigned i = 0; i < count && !copy_guarded(&copied, &messages[i].msg_hdr, sizeof(copied)); i++)
		visit_passed(&copied, interpose_give_away);
}

APART int sendmmsg_ours(struct sock *sock, int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	unsigned sent = 0;

	if (!data_send_begins(sock, fd, flags))
		return (int)data_send_ends(sock, REAL(sendmmsg)(fd, messages, count, flags));
	for (; sent < count && sent < PIECES_MAX; sent++) {
		ssize_t bytes = sendmsg_ours(sock, fd, &messages[sent].msg_hdr, flags);
		unsigned length = (unsigned)bytes;

		if (bytes < 0)
			return sent ? (int)sent : -1;
		if (copy_guarded(&messages[sent].msg_len, &length, sizeof(length)))
			return sent ? (int)sent : (int)interpose_result(-EFAULT);
	}
	return (int)sent;
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	struct sock *sock = sock_of(fd);

	if (unlikely(sock != NULL))
		return sendmmsg_ours(sock, fd, messages, count, flags);
	give_away_all_passed(messages, count);
	return REAL(sendmmsg)(fd, messages, count, flags);
}

/* -- receiving --------------------------------------------------------------------------------------------------------- */

APART ssize_t recvmsg_ours(struct sock *sock, int fd, struct msghdr *message, int flags)
{
	struct msghdr copied;
	ssize_t received;

	if (!data_recv_begins(sock, fd, flags))
		return data_recv_ends(sock, fd, REAL(recvmsg)(fd, message, flags));
	if (copy_guarded(&copied, message, sizeof(copied)))
		return interpose_result(-EFAULT);
	if (copied.msg_iovlen > PIECES_MAX)
		return interpose_result(-EMSGSIZE);
	received = data_recv_vector(sock, fd, copied.msg_iov, copied.msg_iovlen, flags);
	copied.msg_namelen = 0;
	copied.msg_controllen = 0;
	copied.msg_flags = 0;
	if (received >= 0)
		copy_guarded(message, &copied, sizeof(copied));
	return received;
}

APART ssize_t recvmsg_known(int fd, struct msghdr *message, int flags)
{
	struct sock *sock = sock_of(fd);
	ssize_t received;

	if (sock)
		return recvmsg_ours(sock, fd, message, flags);
	received = REAL(recvmsg)(fd, message, flags);
	if (received >= 0 && message->msg_controllen)
		visit_passed(message, sock_recognise); /* they may be ones that this process has sent itself */
	return received;
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	if (likely(!fault_load(field_at(message, offsetof(struct msghdr, msg_controllen)))) && is_foreign(fd))
		return REAL(recvmsg)(fd, message, flags);
	return recvmsg_known(fd, message, flags);
}

/* recvmmsg(2) looks for an error before it looks for bytes. */
static int error_first(struct sock *sock, int fd)
{
	int error = 0;
	unsigned bytes = sizeof(error);

	local_check_end(&sock->end, fd);
	error = (int)exchange(&sock->shared->pending_error, 0);
	if (!error)
		sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
	if (error)
		fetch_or(&sock->shared->flags, SOCK_GONE | SOCK_TX_KERNEL);
	return error;
}

APART int recvmmsg_engine(struct sock *sock, int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	int error = error_first(sock, fd);
	unsigned received = 0;

	if (error)
		return (int)interpose_result(-error);
	for (; received < count && received < PIECES_MAX; received++) {
		int once = flags & ~MSG_WAITFORONE;
		ssize_t bytes;
		unsigned length;

		if (received && flags & MSG_WAITFORONE)
			once |= MSG_DONTWAIT;
		bytes = recvmsg_ours(sock, fd, &messages[received].msg_hdr, once);
		if (bytes < 0) {
			if (received)
				local_keep_error(&sock->end, -errno);
			return received ? (int)received : -1;
		}
		length = (unsigned)bytes;
		if (copy_guarded(&messages[received].msg_len, &length, sizeof(length)))
			return received ? (int)received : (int)interpose_result(-EFAULT);
	}
	return (int)received;
}

APART int recvmmsg_ours(struct sock *sock, int fd, struct mmsghdr *messages, unsigned count, int flags,
                        struct timespec *timeout)
{
	if (!data_recv_begins(sock, fd, flags))
		return (int)data_recv_ends(sock, fd, REAL(recvmmsg)(fd, messages, count, flags, timeout));
	if (timeout) /* its odd rules are the kernel's alone */
		sock_into_kernel(sock, fd, reason_option);
	return timeout ? REAL(recvmmsg)(fd, messages, count, flags, timeout)
	               : recvmmsg_engine(sock, fd, messages, count, flags);
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	struct sock *sock = sock_of(fd);

	return likely(!sock) ? REAL(recvmmsg)(fd, messages, count, flags, timeout)
	                     : recvmmsg_ours(sock, fd, messages, count, flags, timeout);
}
