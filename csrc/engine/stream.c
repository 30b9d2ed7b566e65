/* A TCP socket's calls. Sending and receiving take the lock of their direction alone; what follows from them, a segment or a window, is
 * done by who has the stack's lock, or by the caller where it is free. */
#include <errno.h>
#include <sys/socket.h>

#include "base/lock.h"
#include "engine/engine.h"
#include "engine/holding.h"
#include "tcp/rules.h"

/* -- opening -------------------------------------------------------------------------------------------------------------- */

int byway_tcp_connect(struct stack *stack, uint32_t socket, const struct address *remote, uint32_t port,
                      uint64_t now_ns)
{
	int result = -EBADF;

	holding_begin(stack, now_ns);
	stack->busy_with = socket;
	if (holding_stream(stack, socket))
		result = port > UINT16_MAX ? -EINVAL : tcp_connect_to(stack, socket, remote, (uint16_t)port);
	stack->busy_with = 0;
	holding_end(stack);
	return result;
}

int byway_tcp_listen(struct stack *stack, uint32_t socket, uint32_t backlog)
{
	int result = -EBADF;

	holding_begin(stack, 0);
	if (holding_stream(stack, socket))
		result = tcp_start_listening(stack, socket, backlog);
	holding_end(stack);
	return result;
}

int byway_tcp_accept(struct stack *stack, uint32_t socket)
{
	const struct tcp *tcp = holding_stream(stack, socket);
	uint32_t accepted;

	if (!tcp || load_relaxed(&tcp->state) != STATE_LISTEN)
		return tcp ? -EINVAL : -EBADF;
	if (!load_relaxed(&tcp->accept_count))
		return -EAGAIN;
	holding_begin(stack, 0);
	accepted = tcp_take_accepted(stack, socket);
	holding_end(stack);
	return accepted ? (int)accepted : -EAGAIN;
}

/* -- sending -------------------------------------------------------------------------------------------------------------- */

static int may_send(struct tcp *tcp)
{
	uint8_t state = load_relaxed(&tcp->state);
	int error = exchange(&tcp->end.error, 0);

	if (error)
		return -error;
	if (state == STATE_SYN_SENT || state == STATE_SYN_RECEIVED)
		return -EAGAIN;
	return (state == STATE_ESTABLISHED || state == STATE_CLOSE_WAIT) && !load_relaxed(&tcp->send_closed) ? 0 : -EPIPE;
}

static uint32_t write_bytes(struct stack *stack, struct tcp *tcp, const uint8_t *from, uint32_t bytes)
{
	uint32_t used = byte_queue_count(&tcp->sent_bytes);
	uint32_t room = used < tcp->options.send_bytes ? tcp->options.send_bytes - used : 0;

	return byte_queue_write(stack, &tcp->sent_bytes, from, tcp_least(bytes, room));
}

/* MSG_OOB: the last of these bytes is urgent, which the next segment must say (RFC 9293, 3.8.5). */
static void mark_urgent(struct stack *stack, struct tcp *tcp, uint64_t now_ns)
{
	holding_begin(stack, now_ns);
	if (tcp->state != STATE_CLOSED)
		urgent_send(tcp, tcp_send_end(tcp));
	holding_end(stack);
}

int64_t holding_write_later(struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes, int flags,
                            uint64_t now_ns, int *has_work)
{
	struct tcp *tcp = holding_stream(stack, socket);
	int refused = tcp ? may_send(tcp) : -EBADF;
	uint32_t written;

	*has_work = 0;
	if (refused)
		return refused;
	lock_acquire(&tcp->send_lock);
	written = write_bytes(stack, tcp, from, bytes);
	lock_release(&tcp->send_lock);
	if (written && flags & MSG_OOB)
		mark_urgent(stack, tcp, now_ns);
	*has_work = written && !(flags & MSG_MORE && written == bytes);
	return written || !bytes ? (int64_t)written : -EAGAIN;
}

int64_t byway_tcp_send(struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes, int flags,
                       uint64_t now_ns)
{
	int has_work;
	int64_t result = holding_write_later(stack, socket, from, bytes, flags, now_ns, &has_work);

	if (has_work)
		holding_leave_work(stack, socket, now_ns);
	return result;
}

/* -- receiving ------------------------------------------------------------------------------------------------------------ */

/* Of the urgent byte the sequence number, relative to what is read next; less than 0: it is passed. */
static int32_t urgent_distance(const struct tcp *tcp)
{
	return (int32_t)(tcp->rcv_up - 1 - (tcp->irs + 1 + tcp->received_bytes.read));
}

static int has_urgent_ahead(const struct tcp *tcp)
{
	return load_acquire(&tcp->has_urgent_in) && urgent_distance(tcp) >= 0;
}

int byway_tcp_at_mark(const struct stack *stack, uint32_t socket)
{
	const struct tcp *tcp = holding_stream(stack, socket);

	return tcp ? has_urgent_ahead(tcp) && urgent_distance(tcp) == 0 : -EBADF;
}

/* recv(MSG_OOB): tcp(7). */
static int64_t receive_urgent(struct stack *stack, struct tcp *tcp, uint8_t *to, uint32_t bytes, int flags)
{
	if (tcp->options.urgent_inline || !has_urgent_ahead(tcp) || load_relaxed(&tcp->urgent_taken))
		return -EINVAL;
	if (!bytes)
		return 0;
	if (!byte_queue_peek(stack, &tcp->received_bytes, (uint32_t)urgent_distance(tcp), to, 1))
		return -EAGAIN;
	if (!(flags & MSG_PEEK))
		store_relaxed(&tcp->urgent_taken, 1);
	return 1;
}

/* A read ends before the urgent byte; one that begins there passes it by, unless it is a byte like others. */
static uint32_t until_mark(struct stack *stack, struct tcp *tcp, uint32_t bytes)
{
	if (!has_urgent_ahead(tcp))
		return bytes;
	if (urgent_distance(tcp) == 0) {
		if (!tcp->options.urgent_inline)
			byte_queue_take(stack, &tcp->received_bytes, NULL, 1);
		return bytes;
	}
	return tcp_least(bytes, (uint32_t)urgent_distance(tcp));
}

static uint32_t take(struct stack *stack, struct tcp *tcp, uint8_t *to, uint32_t bytes, int flags)
{
	bytes = until_mark(stack, tcp, bytes);
	if (flags & MSG_PEEK)
		return byte_queue_peek(stack, &tcp->received_bytes, 0, to, bytes);
	return byte_queue_take(stack, &tcp->received_bytes, flags & MSG_TRUNC ? NULL : to, bytes);
}

/* Nothing to read: the end, an error, or later. `has_end` was read before the queue was found empty. */
static int64_t nothing(struct tcp *tcp, int has_end)
{
	uint8_t state = load_relaxed(&tcp->state);
	int error;

	if (has_end)
		return 0;
	error = exchange(&tcp->end.error, 0);
	if (error)
		return -error;
	if (state == STATE_LISTEN || (state == STATE_CLOSED && !tcp->irs))
		return -ENOTCONN;
	return state == STATE_CLOSED || load_relaxed(&tcp->receive_closed) ? 0 : -EAGAIN;
}

int64_t byway_tcp_receive(struct stack *stack, uint32_t socket, uint8_t *to, uint32_t bytes, int flags, uint64_t now_ns)
{
	struct tcp *tcp = holding_stream(stack, socket);
	int has_end = tcp && load_acquire(&tcp->fin_received), should_move;
	int64_t result;

	if (!tcp)
		return -EBADF;
	lock_acquire(&tcp->receive_lock);
	result = flags & MSG_OOB ? receive_urgent(stack, tcp, to, bytes, flags) : take(stack, tcp, to, bytes, flags);
	should_move = window_should_move(tcp);
	lock_release(&tcp->receive_lock);
	if (should_move && !has_end)
		holding_leave_work(stack, socket, now_ns);
	return result || !bytes || flags & MSG_OOB ? result : nothing(tcp, has_end);
}

/* -- closing -------------------------------------------------------------------------------------------------------------- */

/* The end of what was sent is behind all that any thread has written: its lock is held meanwhile. */
static int shut(struct stack *stack, struct tcp *tcp, int how)
{
	if (tcp->state < STATE_SYN_RECEIVED)
		return -ENOTCONN;
	if (how != SHUT_WR)
		store_relaxed(&tcp->receive_closed, 1);
	if (how != SHUT_RD)
		tcp_shut_send(tcp);
	endpoint_changed(&tcp->end);
	output_all(stack, tcp);
	return 0;
}

int byway_tcp_shutdown(struct stack *stack, uint32_t socket, int how, uint64_t now_ns)
{
	struct tcp *tcp = holding_stream(stack, socket);
	int result;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (!tcp)
		return -EBADF;
	lock_acquire(&tcp->send_lock);
	holding_begin(stack, now_ns);
	result = shut(stack, tcp, how);
	holding_end(stack);
	lock_release(&tcp->send_lock);
	return result;
}

int byway_tcp_abort(struct stack *stack, uint32_t socket, uint64_t now_ns)
{
	struct tcp *tcp = holding_stream(stack, socket);

	if (!tcp)
		return -EBADF;
	holding_begin(stack, now_ns);
	if (tcp->state >= STATE_SYN_SENT)
		tcp_reset_connection(stack, tcp);
	holding_end(stack);
	return 0;
}

int byway_tcp_info(const struct stack *stack, uint32_t socket, struct byway_tcp_info *info)
{
	const struct tcp *tcp = holding_stream(stack, socket);

	if (!tcp)
		return -EBADF;
	*info = (struct byway_tcp_info){
		.state = tcp->state,
		.recovery = tcp->recovery,
		.iss = tcp->iss,
		.snd_una = tcp->snd_una,
		.snd_nxt = tcp->snd_nxt,
		.snd_wnd = tcp->snd_wnd,
		.irs = tcp->irs,
		.rcv_nxt = tcp->rcv_nxt,
		.rcv_adv = tcp->rcv_adv,
		.snd_mss = tcp->snd_mss,
		.path_mtu = tcp->path_mtu,
		.cwnd = tcp->cwnd,
		.ssthresh = tcp->ssthresh,
		.pipe = recover_pipe(tcp),
		.retries = tcp->retries,
		.duplicates = tcp->duplicates,
		.unsent_bytes = byte_queue_count(&tcp->sent_bytes),
		.unread_bytes = byte_queue_count(&tcp->received_bytes),
		.waiting_cells = tcp->waiting_cells,
		.sacked_ranges = tcp->sacked_count,
		.may_sack = tcp->may_sack,
		.has_timestamps = tcp->has_timestamps,
		.snd_scale = tcp->snd_scale,
		.rcv_scale = tcp->rcv_scale,
		.srtt_ns = tcp->srtt_ns,
		.rttvar_ns = tcp->rttvar_ns,
		.rto_ns = tcp->rto_ns,
	};
	return 0;
}
