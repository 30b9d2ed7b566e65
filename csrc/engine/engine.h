/* The TCP/IP engine's calls: all that is exported to who owns a stack, to tests and to tools (src/byway/engine/ is the Python side).
 *
 * A stack is memory of the caller's, which any number of processes may map. Nothing here reads a clock, waits (but for the lock, as
 * long as another call takes), allocates, or keeps anything outside that memory. `now_ns` is any monotonic clock, the same in all processes
 * that have the stack: time that goes back is taken to stand still. A socket is a number; 0 is none. What can fail returns a negative
 * errno. Any thread of any process; not in a signal handler that interrupts a call here in the same thread. */
#ifndef BYWAY_ENGINE_ENGINE_H
#define BYWAY_ENGINE_ENGINE_H

#include "stack/stack.h"
#include "udp/udp.h"

#define ENGINE_API __attribute__((visibility("default")))

/* -- the stack ------------------------------------------------------------------------------------------------------------ */

/* Fills in what `settings` leaves 0. Bytes of memory that such a stack takes; -EINVAL: a value is out of its range. */
ENGINE_API int64_t byway_stack_bytes(struct stack_settings *settings);
/* Makes a stack in `bytes` zeroed bytes of memory, aligned to 64. 0; -EINVAL; -ENOSPC. */
ENGINE_API int byway_stack_make(void *memory, uint64_t bytes, const struct stack_settings *settings, uint64_t now_ns);
/* Whether there is a stack of this library's layout in memory that another process made. 0; -EINVAL; -EPROTO: of another layout. */
ENGINE_API int byway_stack_check(const void *memory, uint64_t bytes);
/* Where in the stack's memory its cells lie, a page's multiple, and how many bytes they take together: what an adapter may be given. */
ENGINE_API uint64_t byway_stack_cells(const struct stack *stack, uint64_t *bytes);
/* Packets for this address are taken from now on; without any, all are. 0; -ENOSPC. */
ENGINE_API int byway_stack_add_address(struct stack *stack, const struct address *address);

/* `count` IP packets, at `packets` one behind the other, which came together by `interface` (0: not said), are copied in and judged.
 * Small segments of one connection are answered once, at the end. How many: fewer where no cell is free, or one is larger than a cell. */
ENGINE_API uint32_t byway_stack_receive(struct stack *stack, const uint8_t *packets, const uint32_t *lengths,
                                        uint32_t count, uint32_t interface, uint64_t now_ns);
/* What is due. When it is to be called next: STACK_NEVER: nothing will be due until something else happens. */
ENGINE_API uint64_t byway_stack_run_timers(struct stack *stack, uint64_t now_ns);
/* Takes the next packet that is to leave: copied to `to`. Its bytes; 0: there is none; -EMSGSIZE: `room` is too small.
 * `room`: at least CELL_BYTES. *interface: by which it must go; 0: by the one that the routes say. */
ENGINE_API int byway_stack_transmit(struct stack *stack, uint8_t *to, uint32_t room, uint32_t *interface);
/* The same without the copy: its cell, which is the caller's to give back; 0: there is none. */
ENGINE_API uint32_t byway_stack_transmit_cell(struct stack *stack);

/* A number about the stack, for tools: 0: free cells; 1: free sockets; 2: packets that wait to leave; 100 + n: counter n of
 * stack/counters.def; 1000 + n: packets dropped for reason n of frame/drops.def. 0; -EINVAL: there is no such number. */
ENGINE_API int byway_stack_state(const struct stack *stack, uint32_t number, uint64_t *value);

/* -- sockets of both kinds ------------------------------------------------------------------------------------------------ */

/* A new socket; -ENFILE: the stack has no more. `protocol`: PROTOCOL_TCP or PROTOCOL_UDP; else -EPROTONOSUPPORT. */
ENGINE_API int byway_socket_open(struct stack *stack, uint32_t protocol);
/* 0; -EINVAL: it is bound, or the port is 0; -EADDRINUSE. */
ENGINE_API int byway_socket_bind(struct stack *stack, uint32_t socket, const struct address *local, uint32_t port);
/* close(2) of the last descriptor. The socket's number is not the caller's any more. */
ENGINE_API void byway_socket_close(struct stack *stack, uint32_t socket, uint64_t now_ns);
/* poll(2): POLLIN, POLLOUT, POLLPRI, POLLERR, POLLHUP, POLLRDHUP. Never takes the lock. */
ENGINE_API uint32_t byway_socket_ready(const struct stack *stack, uint32_t socket);
/* The error that the next call would report, which is then forgotten (SO_ERROR); 0: none. */
ENGINE_API int byway_socket_take_error(struct stack *stack, uint32_t socket);
/* getsockname(2), or getpeername(2) where `is_remote`. The port; -ENOTCONN. */
ENGINE_API int byway_socket_address(const struct stack *stack, uint32_t socket, int is_remote, struct address *address);
/* An option by its number in engine/options.def. 0; -ENOPROTOOPT; -EINVAL: out of its range. */
ENGINE_API int byway_socket_set(struct stack *stack, uint32_t socket, uint32_t option, int64_t value, uint64_t now_ns);
ENGINE_API int64_t byway_socket_get(const struct stack *stack, uint32_t socket, uint32_t option);

/* -- TCP ------------------------------------------------------------------------------------------------------------------ */

/* Begins a connection. 0: it has begun, POLLOUT tells that it stands; or as connect(2). The socket must be bound. */
ENGINE_API int byway_tcp_connect(struct stack *stack, uint32_t socket, const struct address *remote, uint32_t port,
                                 uint64_t now_ns);
ENGINE_API int byway_tcp_listen(struct stack *stack, uint32_t socket, uint32_t backlog);
/* A connection, whose number is the caller's; -EAGAIN: there is none. */
ENGINE_API int byway_tcp_accept(struct stack *stack, uint32_t socket);
/* Bytes taken over, fewer than asked for where the send buffer is full; -EAGAIN; or as send(2) (EPIPE without the signal).
 * `flags`: MSG_OOB, MSG_MORE. */
ENGINE_API int64_t byway_tcp_send(struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes, int flags,
                                  uint64_t now_ns);
/* Bytes; 0: the end; -EAGAIN; or as recv(2). `flags`: MSG_PEEK, MSG_OOB, MSG_TRUNC (`to` may be NULL then). */
ENGINE_API int64_t byway_tcp_receive(struct stack *stack, uint32_t socket, uint8_t *to, uint32_t bytes, int flags,
                                     uint64_t now_ns);
/* shutdown(2). */
ENGINE_API int byway_tcp_shutdown(struct stack *stack, uint32_t socket, int how, uint64_t now_ns);
/* RFC 9293, 3.10.5: the peer is told by RST. Close follows. */
ENGINE_API int byway_tcp_abort(struct stack *stack, uint32_t socket, uint64_t now_ns);
/* sockatmark(3). */
ENGINE_API int byway_tcp_at_mark(const struct stack *stack, uint32_t socket);

/* What tests and tools are told of a connection. Sequence numbers as they are on the wire. */
struct byway_tcp_info {
	uint32_t state; /* enum tcp_state */
	uint32_t recovery; /* enum recovery */
	uint32_t iss, snd_una, snd_nxt, snd_wnd;
	uint32_t irs, rcv_nxt, rcv_adv;
	uint32_t snd_mss, path_mtu;
	uint32_t cwnd, ssthresh, pipe, retries, duplicates;
	uint32_t unsent_bytes, unread_bytes, waiting_cells, sacked_ranges;
	uint32_t may_sack, has_timestamps, snd_scale, rcv_scale;
	uint64_t srtt_ns, rttvar_ns, rto_ns;
};
_Static_assert(sizeof(struct byway_tcp_info) == 120, "read by Python");
ENGINE_API int byway_tcp_info(const struct stack *stack, uint32_t socket, struct byway_tcp_info *info);

/* -- UDP ------------------------------------------------------------------------------------------------------------------ */

/* 0; -EAFNOSUPPORT; -EADDRINUSE. Port 0: not connected any more. */
ENGINE_API int byway_udp_connect(struct stack *stack, uint32_t socket, const struct address *remote, uint32_t port);
/* Bytes; as sendto(2). `to` NULL: to the peer that it is connected to. EMSGSIZE beyond what one packet holds: nothing is fragmented. */
ENGINE_API int byway_udp_send(struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes,
                              const struct address *to, uint32_t port);
/* Bytes copied; *arrival says how many there were. -EAGAIN; or as recvmsg(2). `flags`: MSG_PEEK. */
ENGINE_API int byway_udp_receive(struct stack *stack, uint32_t socket, uint8_t *to, uint32_t bytes, int flags,
                                 struct udp_arrival *arrival);
/* IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP and IPv6's: `interface` 0: on all. */
ENGINE_API int byway_udp_join(struct stack *stack, uint32_t socket, const struct address *group, uint32_t interface);
ENGINE_API int byway_udp_leave(struct stack *stack, uint32_t socket, const struct address *group, uint32_t interface);

#endif
