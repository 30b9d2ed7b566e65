/* Offers, HELLO and answer over abstract SOCK_SEQPACKET sockets (unix(7)); no claim in a message is believed that the
 * kernel does not confirm. Lock: the caller's (sock/attach.c lets one thread in). */
#define _GNU_SOURCE
#include "local/meet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/crash.h"
#include "base/descriptor.h"
#include "base/log.h"
#include "base/process.h"
#include "base/spinlock.h"
#include "base/sys.h"
#include "shm/arena.h"

#define OVERFLOW_USER 65534 /* nobody; /proc/sys/kernel/overflowuid says another one hardly ever */
#define HELLO_MAGIC 0x6f6c6c65 /* "ello" */
#define DESCRIPTORS_PASSED_MAX (SHM_BELLS_MAX + 2)

/* Two threads that meet the same process at once must come to the same pair: its bells are known by one end only once. */
static struct spinlock meeting_lock;

void meet_fork_child(void)
{
	meeting_lock.held = 0;
}

struct hello {
	uint32_t magic;
	uint32_t from_end;     /* the sender's end of the pair */
	uint64_t abi_hash;
	uint64_t cookie_from;
	uint64_t cookie_to;
	uint64_t pair_id[2];
	uint32_t channel;
	uint32_t bells_count;  /* descriptors: region 0 and these bells, when bells_count is not 0 … */
	uint32_t region;       /* … and this region, when it is not 0 */
	uint32_t reserved;
};

struct answer {
	uint32_t magic;
	uint32_t bells_count;
	uint64_t abi_hash;
};

struct parcel {
	int descriptors[DESCRIPTORS_PASSED_MAX];
	uint32_t count;
};

/* -- messages ----------------------------------------------------------------------------------------------------------- */

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_PASSED_MAX)];
};

static long message_send(int fd, const void *body, size_t bytes, const struct parcel *parcel)
{
	union control control;
	struct iovec piece = {(void *)(uintptr_t)body, bytes};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (parcel->count) {
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int) * parcel->count);
		memcpy(CMSG_DATA(&control.head), parcel->descriptors, sizeof(int) * parcel->count);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * parcel->count);
	}
	return sys_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void parcel_close(struct parcel *parcel)
{
	for (uint32_t i = 0; i < parcel->count; i++)
		sys_close(parcel->descriptors[i]);
	parcel->count = 0;
}

/* The bytes of one message and its descriptors; nothing is kept when the message is not `bytes` long. */
static long message_receive(int fd, void *body, size_t bytes, struct parcel *parcel)
{
	union control control;
	struct iovec piece = {body, bytes};
	struct msghdr message = {
		.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	long received = sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = received >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

	parcel->count = 0;
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
		parcel->count = (uint32_t)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(parcel->descriptors, CMSG_DATA(head), sizeof(int) * parcel->count);
	}
	if (received >= 0 && (received != (long)bytes || message.msg_flags & MSG_CTRUNC)) {
		parcel_close(parcel);
		return received == 0 ? 0 : -EPROTO;
	}
	return received;
}

/* -- names and identities ------------------------------------------------------------------------------------------------ */

static unsigned meeting_name(struct sockaddr_un *address, uint64_t cookie)
{
	int bytes;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	bytes = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "byway/%016llx", (unsigned long long)cookie);
	return (unsigned)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)bytes);
}

static int error_reason(long error)
{
	switch (error) {
	case -EMFILE:
	case -ENFILE:
		return reason_no_descriptors;
	case -ENOMEM:
	case -ENOSPC:
	case -ENOBUFS:
		return reason_no_memory;
	case -EADDRINUSE:
		return reason_name_taken;
	case -ENOENT:
		return reason_peer_not_local;
	default:
		return reason_no_diag;
	}
}

/* Who has no id in our user namespace, which may change, shows as the overflow user. */
static int user_is_certain(uint32_t user)
{
	return user != OVERFLOW_USER || process_knows_all_users();
}

int meet_identify(struct meeting *meeting, int fd)
{
	int error = diag_find_peer(fd, &meeting->peer);

	if (error)
		return error_reason(error);
	if (!user_is_certain(meeting->peer.user))
		return reason_peer_user;
	meeting->cookie = diag_cookie(fd);
	return meeting->cookie ? 0 : reason_no_diag;
}

/* The process at the other end of a meeting socket, if its user is the one that the cookie belongs to; else 0. */
static int peer_process(const struct meeting *meeting, int fd)
{
	struct ucred credentials = {0};
	unsigned bytes = sizeof(credentials);

	if (sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes))
		return 0;
	return credentials.uid == meeting->peer.user && user_is_certain(credentials.uid) ? credentials.pid : 0;
}

static int pair_is_usable(struct pair *pair)
{
	return pair && !load_relaxed(&pair->dead);
}

/* -- attaching ------------------------------------------------------------------------------------------------------------ */

int local_end_fill(struct local_end *end, struct pair *pair, uint32_t channel)
{
	uint8_t *rings;
	struct shm_channel *shared = pair_channel(pair, channel, &rings);

	if (!shared)
		return 0;
	end->pair = pair;
	end->shared = shared;
	end->channel = channel;
	end->ring_bytes = pair->ring_bytes;
	end->tx = &shared->direction[pair->end];
	end->rx = &shared->direction[1 - pair->end];
	end->tx_ring = rings + pair->end * pair->ring_bytes;
	end->rx_ring = rings + (1 - pair->end) * pair->ring_bytes;
	end->head_seen = 0;
	end->left = LEFT_NOT;
	end->lost = 0;
	end->back_off_us = 0;
	end->back_off_until = 0;
	return 1;
}

void local_end_attached(struct local_end *end)
{
	pair_reference(end->pair);
	end->pair->sockets[end->channel] = (uint32_t)(end->socket - arena->sockets) + 1;
	end->socket->pair = pair_index(end->pair);
	end->socket->channel = end->channel;
	end->socket->end = end->pair->end;
}

/* -- the active opener -------------------------------------------------------------------------------------------------------- */

int meet_offer(struct meeting *meeting)
{
	struct sockaddr_un address;
	unsigned bytes = meeting_name(&address, meeting->cookie);
	int fd = descriptor_own(sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	long error;

	if (fd < 0)
		return error_reason(fd);
	error = sys_bind(fd, &address, bytes);
	CRASH_POINT(offer_bound);
	if (!error)
		error = sys_listen(fd, 1);
	if (error) {
		descriptor_own_close(fd);
		return error_reason(error);
	}
	meeting->fd = fd;
	count(counter_offers, 1);
	CRASH_POINT(offer_listening);
	return 0;
}

/* The pair that a HELLO brings, with its bells; NULL and *error, a negative errno. */
static struct pair *hello_join(const struct hello *hello, int process, const int *descriptors, int *error)
{
	struct pair *pair = pair_join(process, descriptors[0], hello->pair_id, error);

	if (!pair) {
		for (uint32_t k = 0; k < hello->bells_count; k++)
			sys_close(descriptors[1 + k]);
		return NULL;
	}
	*error = pair_confirm(pair, &descriptors[1], hello->bells_count);
	if (!*error)
		return pair;
	pair_destroy(pair);
	return NULL;
}

static struct pair *hello_pair(const struct hello *hello, int process, struct parcel *parcel, int *reason)
{
	struct pair *pair = pair_find(process, 1 - (hello->from_end & 1), hello->pair_id);
	uint32_t used = 0;
	int error = 0;

	if (hello->bells_count && !pair) {
		pair = hello_join(hello, process, parcel->descriptors, &error);
		if (!pair)
			*reason = error_reason(error);
		used = 1 + hello->bells_count;
	}
	if (pair && hello->region) {
		uint32_t at = hello->bells_count ? 1 + hello->bells_count : 0;

		pair_region_join(pair, hello->region, parcel->descriptors[at]);
		parcel->descriptors[at] = -1;
	}
	for (uint32_t i = used; i < parcel->count; i++)
		if (parcel->descriptors[i] >= 0)
			sys_close(parcel->descriptors[i]);
	parcel->count = 0;
	return pair;
}

static int hello_is_sound(const struct hello *hello, const struct meeting *meeting, const struct parcel *parcel)
{
	uint32_t expected = (hello->bells_count ? 1 + hello->bells_count : 0) + (hello->region ? 1 : 0);

	return hello->magic == HELLO_MAGIC && hello->cookie_from == meeting->peer.cookie &&
	       hello->cookie_to == meeting->cookie && hello->bells_count <= SHM_BELLS_MAX &&
	       hello->channel < SHM_CHANNELS_MAX && hello->region < SHM_REGIONS_MAX && parcel->count == expected;
}

static enum meet_result hello_take(struct meeting *meeting, struct local_end *end, int connection, int process,
                                   const struct hello *hello, struct parcel *parcel, int *reason)
{
	struct answer answer = {.magic = HELLO_MAGIC, .abi_hash = BYWAY_ABI_HASH};
	struct parcel bells = {.count = 0};
	struct pair *pair;
	uint32_t none = SHM_END_NONE;

	spinlock_acquire(&meeting_lock);
	pair = hello_pair(hello, process, parcel, reason);
	spinlock_release(&meeting_lock);
	if (!pair || !local_end_fill(end, pair, hello->channel) || load_acquire(&end->shared->in_use) != 1 ||
	    end->shared->cookies[pair->end] != meeting->cookie ||
	    end->shared->cookies[1 - pair->end] != meeting->peer.cookie) {
		*reason = *reason ? *reason : reason_protocol;
		return MEET_NEVER;
	}
	if (!compare_swap(&end->shared->ends[pair->end], &none, SHM_END_OPEN)) {
		*reason = reason_ended;
		return MEET_NEVER;
	}
	local_end_attached(end);
	CRASH_POINT(accept_attached);
	if (hello->bells_count) {
		answer.bells_count = bells.count = pair->bells_count;
		memcpy(bells.descriptors, pair->bells, sizeof(int) * pair->bells_count);
	}
	message_send(connection, &answer, sizeof(answer), &bells);
	return MEET_JOINED;
}

enum meet_result meet_accept(struct meeting *meeting, struct local_end *end, int *reason)
{
	struct hello hello;
	struct parcel parcel;
	enum meet_result result;
	int connection = meeting->connection;
	int process;
	long received;

	if (connection < 0)
		connection = descriptor_own(sys_accept4(meeting->fd, SOCK_CLOEXEC | SOCK_NONBLOCK));
	if (connection < 0)
		return MEET_LATER;
	meeting->connection = connection;
	*reason = 0;
	process = peer_process(meeting, connection);
	received = process ? message_receive(connection, &hello, sizeof(hello), &parcel) : -EACCES;
	CRASH_POINT(accept_hello_received);
	if (received == -EAGAIN)
		return MEET_LATER;
	meeting->connection = -1;
	if (received <= 0) { /* a stranger, or one that died: the offer stands */
		descriptor_own_close(connection);
		return MEET_LATER;
	}
	if (hello.abi_hash != BYWAY_ABI_HASH) {
		parcel_close(&parcel);
		*reason = reason_abi;
		result = MEET_NEVER;
	} else if (!hello_is_sound(&hello, meeting, &parcel)) {
		parcel_close(&parcel);
		*reason = reason_protocol;
		result = MEET_NEVER;
	} else {
		result = hello_take(meeting, end, connection, process, &hello, &parcel, reason);
	}
	descriptor_own_close(connection);
	descriptor_own_close(meeting->fd);
	meeting->fd = -1;
	return result;
}

/* -- the passive opener --------------------------------------------------------------------------------------------------------- */

static struct pair *join_pair(int process, int *reason)
{
	struct pair *pair;
	int error = 0;

	spinlock_acquire(&meeting_lock);
	pair = pair_find_by_process(process);
	if (!pair_is_usable(pair)) {
		pair = pair_make(process, &error);
		if (!pair)
			*reason = error_reason(error);
		CRASH_POINT(join_pair_made);
	}
	spinlock_release(&meeting_lock);
	return pair;
}

static uint32_t join_channel(struct meeting *meeting, struct local_end *end, struct pair *pair)
{
	uint64_t cookies[2];
	uint32_t channel;

	cookies[pair->end] = meeting->cookie;
	cookies[1 - pair->end] = meeting->peer.cookie;
	channel = pair_channel_new(pair, cookies);
	CRASH_POINT(join_channel_made);
	if (channel == SHM_CHANNELS_MAX || !local_end_fill(end, pair, channel))
		return SHM_CHANNELS_MAX;
	store_release(&end->shared->ends[pair->end], SHM_END_OPEN);
	local_end_attached(end);
	return channel;
}

static void hello_fill(const struct meeting *meeting, struct pair *pair, uint32_t channel, struct hello *hello,
                       struct parcel *parcel)
{
	memset(hello, 0, sizeof(*hello));
	hello->magic = HELLO_MAGIC;
	hello->from_end = pair->end;
	hello->abi_hash = BYWAY_ABI_HASH;
	hello->cookie_from = meeting->cookie;
	hello->cookie_to = meeting->peer.cookie;
	memcpy(hello->pair_id, pair->id, sizeof(hello->pair_id));
	hello->channel = channel;
	hello->region = pair_region_of(channel);
	parcel->count = 0;
	if (!load_acquire(&pair->confirmed)) {
		hello->bells_count = pair->bells_count;
		parcel->descriptors[parcel->count++] = pair->regions[0].fd;
		for (uint32_t k = 0; k < pair->bells_count; k++)
			parcel->descriptors[parcel->count++] = pair->bells[k];
	}
	if (hello->region)
		parcel->descriptors[parcel->count++] = pair->regions[hello->region].fd;
}

enum meet_result meet_join(struct meeting *meeting, struct local_end *end, int *reason)
{
	struct sockaddr_un address;
	unsigned bytes = meeting_name(&address, meeting->peer.cookie);
	int fd = descriptor_own(sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	struct hello hello;
	struct parcel parcel;
	struct pair *pair;
	uint32_t channel;
	int process;

	*reason = 0;
	if (fd < 0) {
		*reason = error_reason(fd);
		return MEET_NEVER;
	}
	if (sys_connect(fd, &address, bytes)) {
		descriptor_own_close(fd);
		return MEET_LATER;
	}
	process = peer_process(meeting, fd);
	pair = process ? join_pair(process, reason) : NULL;
	if (!process)
		*reason = reason_peer_user;
	channel = pair ? join_channel(meeting, end, pair) : SHM_CHANNELS_MAX;
	if (channel == SHM_CHANNELS_MAX) {
		*reason = *reason ? *reason : reason_no_memory;
		descriptor_own_close(fd);
		return MEET_NEVER;
	}
	hello_fill(meeting, pair, channel, &hello, &parcel);
	if (message_send(fd, &hello, sizeof(hello), &parcel) != (long)sizeof(hello)) {
		*reason = reason_peer_not_byway;
		meeting->fd = fd;
		meet_abandon(meeting, end);
		return MEET_NEVER;
	}
	CRASH_POINT(join_hello_sent);
	meeting->fd = fd;
	return MEET_JOINED;
}

/* -- both ---------------------------------------------------------------------------------------------------------------------------- */

/* 0, also where no answer is there yet, or a reason: the peer's bells do not come. */
static int answer_take(struct meeting *meeting, struct pair *pair)
{
	struct answer answer;
	struct parcel parcel;
	long received = message_receive(meeting->fd, &answer, sizeof(answer), &parcel);
	int error = received == -EPROTO ? -EMFILE : 0; /* or no numbers were left for the descriptors */

	if (received == -EAGAIN)
		return 0;
	if (received > 0 && answer.magic == HELLO_MAGIC && answer.bells_count == parcel.count)
		error = pair_confirm(pair, parcel.descriptors, parcel.count);
	else if (received > 0)
		parcel_close(&parcel);
	descriptor_own_close(meeting->fd);
	meeting->fd = -1;
	return error ? error_reason(error) : 0;
}

int meet_is_complete(struct meeting *meeting, struct local_end *end, int *reason)
{
	uint32_t other;

	*reason = meeting->fd >= 0 ? answer_take(meeting, end->pair) : 0;
	if (*reason)
		return -1;
	other = load_acquire(&end->shared->ends[1 - end->pair->end]);
	if (other == SHM_END_OPEN && load_acquire(&end->pair->confirmed))
		return 1;
	*reason = other == SHM_END_NONE ? reason_peer_refused : reason_ended;
	return other == SHM_END_CLOSED || (other == SHM_END_NONE && meeting->fd < 0) ? -1 : 0;
}

void meet_abandon(struct meeting *meeting, struct local_end *end)
{
	descriptor_own_close(meeting->fd);
	descriptor_own_close(meeting->connection);
	meeting->fd = meeting->connection = -1;
	if (!end->pair)
		return;
	pair_channel_leave(end->pair, end->channel);
	pair_release(end->pair);
	end->pair = NULL;
}
