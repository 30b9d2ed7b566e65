/* What each file of this folder decides for the others. All under the stack's lock; `tcp` is the slot of one of the stack's endpoints. */
#ifndef BYWAY_TCP_RULES_H
#define BYWAY_TCP_RULES_H

#include "frame/icmp.h"
#include "tcp/tcp.h"

/* A segment that has arrived, and what is left of it while it is judged. */
struct arrival {
	struct stack *stack;
	struct tcp *tcp;
	const struct packet *packet;
	struct segment segment; /* sequence, payload and flags shrink as parts are cut off */
	uint32_t cell; /* 0: its bytes have been taken over */
};

/* expected.c: the short way of the segment that is expected. Takes the first packets of the hand that are one: of the next, which is
 * returned, nothing was changed. Those of one connection are answered together */
uint32_t expected_receive(struct stack *stack);

/* receive.c: from a packet to its connection */
void tcp_receive(struct stack *stack, uint32_t cell, const struct packet *packet);

/* input.c: the order in which a segment is judged */
void input_segment(struct arrival *arrival);

/* accept.c: which segments are believed. 0: drop it; an answer has been sent or will be */
int accept_sequence(struct arrival *arrival);
void accept_reset(struct arrival *arrival);
int accept_syn(struct arrival *arrival);
int accept_acknowledgement(struct arrival *arrival);
int accept_timestamp(const struct stack *stack, const struct tcp *tcp, const struct segment *segment);
void accept_challenge(struct stack *stack, struct tcp *tcp);

/* reassemble.c: bytes into the queue, or kept until earlier ones come */
void reassemble_payload(struct arrival *arrival);
void reassemble_fill_sacks(struct tcp *tcp, struct segment *segment);
void reassemble_note_duplicate(struct tcp *tcp, uint32_t left, uint32_t right);
void reassemble_forget(struct stack *stack, struct tcp *tcp);

/* window.c: what is offered */
uint32_t window_offer(struct tcp *tcp);
int window_should_move(const struct tcp *tcp);
uint8_t window_scale_for(uint32_t receive_bytes);

/* delay.c: when to acknowledge */
void delay_acknowledge(struct stack *stack, struct tcp *tcp);
void delay_acknowledge_now(struct tcp *tcp);
void delay_acknowledged(struct tcp *tcp);
void delay_expired(struct stack *stack, struct tcp *tcp);

/* acknowledged.c: what an acceptable ACK ends, measures and allows */
void acknowledged_segment(struct arrival *arrival);
void acknowledged_advance(struct stack *stack, struct tcp *tcp, uint32_t acknowledgement, uint32_t echo);

/* recover.c: what is lost, and what is sent again */
void recover_begin(struct tcp *tcp);
int recover_note_sacks(struct stack *stack, struct tcp *tcp, const struct segment *segment);
void recover_duplicate(struct stack *stack, struct tcp *tcp);
void recover_advanced(struct stack *stack, struct tcp *tcp, uint32_t bytes);
void recover_timeout(struct stack *stack, struct tcp *tcp);
uint32_t recover_pipe(const struct tcp *tcp);
/* What is to be sent again now, if cwnd allows: bytes [*from, *from + result). 0: nothing. */
uint32_t recover_lost(const struct tcp *tcp, uint32_t *from);
/* The same when there is nothing new to send: RFC 6675, NextSeg, rules 3 and 4. */
uint32_t recover_perhaps_lost(struct stack *stack, struct tcp *tcp, uint32_t *from);
void recover_sent_again(struct tcp *tcp, uint32_t from, uint32_t end);
void recover_too_big(struct tcp *tcp);
/* cwnd, and what limited transmit adds to it (RFC 3042). */
uint32_t recover_allowed(const struct tcp *tcp);

/* rtt.c: the estimate and the timeout */
void rtt_begin(struct tcp *tcp);
void rtt_sample(const struct stack *stack, struct tcp *tcp, uint64_t rtt_ns);
void rtt_time_segment(const struct stack *stack, struct tcp *tcp, uint32_t end);
void rtt_forget_timed(struct tcp *tcp);
void rtt_acknowledged(const struct stack *stack, struct tcp *tcp, uint32_t acknowledgement, uint32_t echo);
uint64_t rtt_timeout_ns(const struct tcp *tcp, uint32_t backed_off);

/* timer.c: a connection's deadlines */
void timer_set(struct stack *stack, struct tcp *tcp, enum tcp_timer timer, uint64_t deadline_ns);
void timer_stop(struct tcp *tcp, enum tcp_timer timer);
int timer_is_set(const struct tcp *tcp, enum tcp_timer timer);
void timer_stop_all(struct stack *stack, struct tcp *tcp);
void tcp_run_timers(struct stack *stack, uint32_t index);

/* retransmit.c: the retransmission timer */
void retransmit_restart(struct stack *stack, struct tcp *tcp);
void retransmit_begin(struct stack *stack, struct tcp *tcp);
void retransmit_expired(struct stack *stack, struct tcp *tcp);

/* persist.c: a window that is closed, and what is too small to be sent */
void persist_begin(struct stack *stack, struct tcp *tcp);
void persist_end(struct tcp *tcp);
void persist_expired(struct stack *stack, struct tcp *tcp);

/* output.c: what may be sent now */
void output_all(struct stack *stack, struct tcp *tcp);
/* emit.c: how a segment is built. 0: no cell was free */
int emit_segment(struct stack *stack, struct tcp *tcp, uint32_t sequence, uint32_t bytes, uint8_t flags);
int emit_syn(struct stack *stack, struct tcp *tcp);
int emit_acknowledgement(struct stack *stack, struct tcp *tcp);
void emit_probe(struct stack *stack, struct tcp *tcp);
void emit_reset(struct stack *stack, struct tcp *tcp);
void emit_reset_for(struct stack *stack, const struct packet *packet, const struct segment *segment);
uint32_t emit_clock(const struct stack *stack, const struct tcp *tcp);

/* begin.c: the handshake's options and numbers */
void begin_connection(struct stack *stack, struct tcp *tcp);
void begin_fill_options(const struct stack *stack, const struct tcp *tcp, struct segment *segment);
void begin_read_options(struct stack *stack, struct tcp *tcp, const struct segment *segment);
void begin_peer_numbers(struct tcp *tcp, const struct segment *segment);
void begin_established(struct stack *stack, struct tcp *tcp);

/* state.c: opening and closing */
void tcp_defaults(const struct stack *stack, struct tcp *tcp);
int tcp_connect_to(struct stack *stack, uint32_t index, const struct address *remote, uint16_t port);
void tcp_shut_send(struct tcp *tcp);
void tcp_detach(struct stack *stack, uint32_t index);
void tcp_reset_connection(struct stack *stack, struct tcp *tcp);
void tcp_fin_acknowledged(struct stack *stack, struct tcp *tcp);
void tcp_fin_arrived(struct stack *stack, struct tcp *tcp);
void tcp_time_wait(struct stack *stack, struct tcp *tcp);
/* The connection is no more; `error`: why, for the program; 0: it ended well. */
void tcp_end(struct stack *stack, struct tcp *tcp, int error);
/* Work that the program's side has left (stack/work.h). */
void tcp_serve(struct stack *stack, uint32_t index);

/* listen.c: backlog, queues */
int tcp_start_listening(struct stack *stack, uint32_t index, uint32_t backlog);
void listen_segment(struct arrival *arrival);
int listen_has_room(const struct stack *stack, const struct tcp *child);
void listen_established(struct stack *stack, struct tcp *child);
int listen_child_ends(struct stack *stack, struct tcp *child);
void listen_end(struct stack *stack, struct tcp *listener);
uint32_t tcp_take_accepted(struct stack *stack, uint32_t listener);

/* mtu.c: how large a segment may be, and what an ICMP error means */
void mtu_begin(const struct stack *stack, struct tcp *tcp);
void mtu_fit(struct tcp *tcp);
void tcp_receive_error(struct stack *stack, const struct icmp_error *error);
void mtu_try_larger(const struct stack *stack, struct tcp *tcp);

/* idle.c: keepalive, user timeout, the end of waiting states */
void idle_keepalive_begin(struct stack *stack, struct tcp *tcp);
void idle_keepalive_expired(struct stack *stack, struct tcp *tcp);
int idle_user_timeout_is_over(const struct stack *stack, const struct tcp *tcp);
int idle_may_reuse(const struct tcp *tcp, const struct segment *segment);

/* urgent.c: the urgent mark */
void urgent_arrived(struct arrival *arrival);
void urgent_forget_passed(struct tcp *tcp);
void urgent_send(struct tcp *tcp, uint32_t end);
void urgent_fill(const struct tcp *tcp, struct segment *segment);

/* -- what the way of every byte has too, in the callers' own code ---------------------------------------------------------- */

/* RFC 7323, 4.3 (2) and 5.3, R3. */
static inline void accept_take_timestamp(const struct stack *stack, struct tcp *tcp, uint32_t sequence,
                                         uint32_t timestamp)
{
	if (seq_after(sequence, tcp->last_ack))
		return;
	tcp->ts_recent = timestamp;
	tcp->ts_recent_at_ns = stack->now_ns;
}

/* The peer's window is known from a segment of this sequence and acknowledgement (SND.WL1, SND.WL2). */
static inline void acknowledged_window(struct tcp *tcp, uint32_t sequence, uint32_t acknowledgement, uint32_t window)
{
	tcp->snd_wl1 = sequence;
	tcp->snd_wl2 = acknowledgement;
	if (tcp->snd_wnd == window)
		return;
	if (!tcp->snd_wnd)
		persist_end(tcp);
	tcp->snd_wnd = window;
	tcp->is_window_closed = !window;
	tcp->snd_wnd_max = tcp_most(tcp->snd_wnd_max, window);
}

/* Anything acceptable from the peer. */
static inline void idle_heard(const struct stack *stack, struct tcp *tcp)
{
	tcp->heard_at_ns = stack->now_ns;
	tcp->keepalive_unanswered = 0;
	tcp->soft_error = 0;
	if (unlikely(tcp->path_mtu_lowered_s))
		mtu_try_larger(stack, tcp);
}

#endif
