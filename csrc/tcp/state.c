/* Opening and closing: the calls of RFC 9293, 3.10.1, 3.10.4 and 3.10.5, and the states that they and the FINs lead to (3.3.2, 3.6).
 * What arrives in which state is judged in tcp/input.c. */
#include <errno.h>

#include "ip/ip.h"
#include "tcp/rules.h"

#define NS_PER_MS 1000000ull

/* Linux's, where it has a setting: tcp(7). */
void tcp_defaults(const struct stack *stack, struct tcp *tcp)
{
	tcp->options = (struct tcp_options){
		.send_bytes = stack->settings.send_bytes,
		.receive_bytes = stack->settings.receive_bytes,
		.keepalive_idle_ms = 7200000,
		.keepalive_interval_ms = 75000,
		.keepalive_probes = 9,
		.syn_retries = 6,
		.linger_ms = -1,
	};
	for (int timer = 0; timer < TCP_TIMERS; timer++)
		timer_stop(tcp, timer);
}

/* Nobody is alone there. */
static int is_of_many(const struct address *address)
{
	return address_is_multicast(address) || address_is_broadcast(address) || address_is_unspecified(address);
}

/* 0, or why this socket cannot connect there. */
static int refusal(const struct stack *stack, const struct tcp *tcp, const struct address *remote, uint16_t port)
{
	if (tcp->state == STATE_SYN_SENT || tcp->state == STATE_SYN_RECEIVED)
		return -EALREADY;
	if (tcp->state != STATE_CLOSED || tcp->was_established)
		return -EISCONN;
	if (!tcp->end.local_port || !port)
		return -EINVAL;
	if (is_of_many(&tcp->end.local))
		return -EADDRNOTAVAIL;
	if (is_of_many(remote))
		return -ENETUNREACH;
	if (address_is_ipv4(remote) != address_is_ipv4(&tcp->end.local))
		return -EAFNOSUPPORT;
	return endpoint_connected(stack, PROTOCOL_TCP, &tcp->end.local, tcp->end.local_port, remote, port) ? -EADDRNOTAVAIL
	                                                                                                   : 0;
}

/* An earlier try that failed leaves nothing but what the program has set. */
static void forget_last_try(struct tcp *tcp)
{
	struct endpoint end = tcp->end;
	struct tcp_options options = tcp->options;

	memset(tcp, 0, sizeof(*tcp));
	tcp->end = end;
	tcp->options = options;
	for (int timer = 0; timer < TCP_TIMERS; timer++)
		timer_stop(tcp, timer);
}

/* RFC 9293, 3.10.1, active. The endpoint's own address and port are set. 0, or a negative errno. */
int tcp_connect_to(struct stack *stack, uint32_t index, const struct address *remote, uint16_t port)
{
	struct tcp *tcp = tcp_at(stack, index);
	int refused = refusal(stack, tcp, remote, port);

	if (refused)
		return refused;
	forget_last_try(tcp);
	tcp->end.remote = *remote;
	tcp->end.remote_port = port;
	endpoint_enter(stack, index, ENDPOINT_CONNECTED);
	begin_connection(stack, tcp);
	tcp->state = STATE_SYN_SENT;
	emit_syn(stack, tcp);
	return 0;
}

/* RFC 9293, 3.10.4: no more bytes. In SYN-RECEIVED it waits until the handshake is over, as 3.10.4 allows. */
void tcp_shut_send(struct tcp *tcp)
{
	if (tcp->send_closed)
		return;
	store_relaxed(&tcp->send_closed, 1);
	if (tcp->state == STATE_ESTABLISHED)
		tcp->state = STATE_FIN_WAIT_1;
	else if (tcp->state == STATE_CLOSE_WAIT)
		tcp->state = STATE_LAST_ACK;
	endpoint_changed(&tcp->end);
}

/* States in which the peer has, or may have, a connection to be told of its reset (RFC 9293, 3.10.5). */
static int peer_is_to_be_told(const struct tcp *tcp)
{
	return tcp->state >= STATE_SYN_RECEIVED && tcp->state <= STATE_CLOSE_WAIT;
}

void tcp_reset_connection(struct stack *stack, struct tcp *tcp)
{
	if (peer_is_to_be_told(tcp) || tcp->state == STATE_CLOSING || tcp->state == STATE_LAST_ACK)
		emit_reset(stack, tcp);
	tcp_end(stack, tcp, ECONNABORTED);
}

/* A FIN-WAIT-2 that nobody reads ends by itself, as in Linux; so does one whose peer never closes. */
static void limit_fin_wait_2(struct stack *stack, struct tcp *tcp)
{
	if (tcp->is_detached && tcp->state == STATE_FIN_WAIT_2)
		timer_set(stack, tcp, TIMER_END, stack->now_ns + stack->settings.time_wait_ms * NS_PER_MS);
}

/* Unread bytes are lost, and the peer must know (RFC 1122, 4.2.2.13; RFC 2525, 2.17). */
static int must_reset(const struct tcp *tcp)
{
	return byte_queue_count(&tcp->received_bytes) || tcp->options.linger_ms == 0;
}

static void detach_connection(struct stack *stack, struct tcp *tcp)
{
	if (tcp->state != STATE_TIME_WAIT && must_reset(tcp)) {
		tcp_reset_connection(stack, tcp);
		return;
	}
	tcp_shut_send(tcp);
	limit_fin_wait_2(stack, tcp);
	output_all(stack, tcp);
}

/* The program has closed its last descriptor. The slot is free when nothing is left to do. */
void tcp_detach(struct stack *stack, uint32_t index)
{
	struct tcp *tcp = tcp_at(stack, index);

	tcp->is_detached = 1;
	if (tcp->state == STATE_LISTEN)
		listen_end(stack, tcp);
	if (tcp->state <= STATE_SYN_SENT)
		tcp_end(stack, tcp, 0);
	else
		detach_connection(stack, tcp);
}

void tcp_time_wait(struct stack *stack, struct tcp *tcp)
{
	tcp->state = STATE_TIME_WAIT;
	for (int timer = 0; timer < TCP_TIMERS; timer++)
		timer_stop(tcp, timer);
	timer_set(stack, tcp, TIMER_END, stack->now_ns + stack->settings.time_wait_ms * NS_PER_MS);
}

/* RFC 9293, 3.10.7.4, fifth: FIN-WAIT-1, CLOSING, LAST-ACK. */
void tcp_fin_acknowledged(struct stack *stack, struct tcp *tcp)
{
	if (tcp->state == STATE_FIN_WAIT_1) {
		tcp->state = STATE_FIN_WAIT_2;
		limit_fin_wait_2(stack, tcp);
	} else if (tcp->state == STATE_CLOSING) {
		tcp_time_wait(stack, tcp);
	} else if (tcp->state == STATE_LAST_ACK) {
		tcp_end(stack, tcp, 0);
	}
}

/* RFC 9293, 3.10.7.4, eighth. All bytes before it are in the queue. */
void tcp_fin_arrived(struct stack *stack, struct tcp *tcp)
{
	tcp->rcv_nxt++;
	tcp->rcv_adv = seq_later(tcp->rcv_adv, tcp->rcv_nxt);
	store_release(&tcp->fin_received, 1);
	endpoint_changed(&tcp->end);
	delay_acknowledge_now(tcp);
	if (tcp->state == STATE_ESTABLISHED)
		tcp->state = STATE_CLOSE_WAIT;
	else if (tcp->state == STATE_FIN_WAIT_1)
		tcp->state = STATE_CLOSING;
	else if (tcp->state == STATE_FIN_WAIT_2)
		tcp_time_wait(stack, tcp);
}

void tcp_end(struct stack *stack, struct tcp *tcp, int error)
{
	uint32_t index = endpoint_index(stack, tcp);

	timer_stop_all(stack, tcp);
	reassemble_forget(stack, tcp);
	endpoint_leave(stack, index);
	tcp->state = STATE_CLOSED;
	tcp->ack_now = 0;
	if (tcp->parent && listen_child_ends(stack, tcp))
		tcp->is_detached = 1;
	if (error)
		endpoint_set_error(&tcp->end, error);
	endpoint_changed(&tcp->end);
	if (!tcp->is_detached)
		return;
	byte_queue_end(stack, &tcp->received_bytes);
	byte_queue_end(stack, &tcp->sent_bytes);
	endpoint_give_back(stack, index);
}

/* Bytes to send, or a window that has opened. */
void tcp_serve(struct stack *stack, uint32_t index)
{
	struct tcp *tcp = tcp_at(stack, index);

	if (tcp->end.kind != ENDPOINT_STREAM)
		return;
	stack->busy_with = index;
	if (tcp_is_synchronized(tcp) && !tcp->fin_received && window_should_move(tcp))
		delay_acknowledge_now(tcp);
	output_all(stack, tcp);
	stack->busy_with = 0;
}
