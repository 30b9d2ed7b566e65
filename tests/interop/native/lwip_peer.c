/* lwIP as a TCP of other people's making, for simulations in virtual time: its raw API behind calls that Python makes with ctypes.
 *
 * Debian's liblwip is built for threads (NO_SYS 0), but its core needs none of them: lwip_init() starts no thread, the check of the
 * core's lock does nothing as long as tcpip_init() was not called, and timeouts run when sys_check_timeouts() is called. Its clock is
 * sys_now(), which this library defines before lwIP does: the loader asks who was opened first. So all of it runs in the caller's
 * thread, and does the same each time.
 *
 * lwIP has global state, so there is one stack at a time: who wants another one unloads this library and loads it again. One thread. An
 * error is lwIP's err_t, which is less than 0. A connection is the caller's from connect or accept until close or abort.
 *
 * Without lwIP's headers this file is empty, so that it can be checked on machines that do not have them. */
#if __has_include(<lwip/tcp.h>)
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>

#define PEER_API __attribute__((visibility("default")))

enum {
	TIMER_GRID_MS = 250, /* lwIP's TCP counts in steps of this */
	RECEIVED_BYTES = 65536, /* more than any window that lwIP offers (TCP_WND) */
	READABLE = 1, /* bits of poll(2) */
	WRITABLE = 4,
	FAILED = 8,
	HUNG_UP = 16,
	READ_HANG_UP = 0x2000
};

/* A packet on its way out. */
struct packet {
	struct packet *next;
	uint32_t bytes;
	uint8_t data[];
};

/* A connection or a listener. */
struct connection {
	struct tcp_pcb *pcb; /* NULL: lwIP has ended it, or forgets it by itself after TIME-WAIT */
	struct connection *next; /* of all */
	struct connection *accepted; /* of a listener: the first that nobody took; of such a one: the next */
	int error; /* an err_t; 0: none */
	uint32_t state; /* the last one that was seen, once pcb is NULL */
	uint32_t withheld; /* bytes of the window that are never offered again before the end */
	uint32_t uncredited; /* bytes that were read, of which lwIP was not told */
	uint32_t unread; /* bytes in `received` */
	uint8_t has_end;
	uint8_t received[RECEIVED_BYTES];
};

static struct netif interface;
static uint32_t now_ms;
static struct packet *first_packet, **last_packet = &first_packet;
static struct connection *connections;

/* Takes the place of lwIP's own clock. */
PEER_API u32_t sys_now(void)
{
	return now_ms;
}

/* -- packets -- */

static err_t put_out(const struct pbuf *buffer)
{
	struct packet *packet = malloc(sizeof(*packet) + buffer->tot_len);

	if (!packet)
		return ERR_MEM;
	packet->next = NULL;
	packet->bytes = pbuf_copy_partial(buffer, packet->data, buffer->tot_len, 0);
	*last_packet = packet;
	last_packet = &packet->next;
	return ERR_OK;
}

static err_t output_ip4(struct netif *of, struct pbuf *buffer, const ip4_addr_t *to)
{
	(void)of;
	(void)to;
	return put_out(buffer);
}

static err_t output_ip6(struct netif *of, struct pbuf *buffer, const ip6_addr_t *to)
{
	(void)of;
	(void)to;
	return put_out(buffer);
}

/* The next packet that leaves: its bytes; 0: there is none; -1: `room` is too small. */
PEER_API int lwip_peer_output(uint8_t *to, uint32_t room)
{
	struct packet *packet = first_packet;
	int bytes;

	if (!packet)
		return 0;
	if (packet->bytes > room)
		return -1;
	bytes = (int)packet->bytes;
	memcpy(to, packet->data, packet->bytes);
	first_packet = packet->next;
	if (!first_packet)
		last_packet = &first_packet;
	free(packet);
	return bytes;
}

/* -- what lwIP tells of connections -- */

/* lwIP's structure is not ours to touch from here on. */
static void let_go(struct connection *connection)
{
	struct tcp_pcb *pcb = connection->pcb;

	connection->state = pcb->state;
	connection->pcb = NULL;
	tcp_arg(pcb, NULL);
	if (pcb->state == LISTEN)
		return;
	tcp_recv(pcb, NULL);
	tcp_err(pcb, NULL);
}

/* In TIME-WAIT lwIP frees its structure without a word, after two minutes. */
static void let_go_of_ended(void)
{
	for (struct connection *each = connections; each; each = each->next)
		if (each->pcb && each->pcb->state == TIME_WAIT)
			let_go(each);
}

static err_t on_received(void *of, struct tcp_pcb *pcb, struct pbuf *buffer, err_t error)
{
	struct connection *connection = of;

	(void)pcb;
	(void)error;
	if (!buffer) {
		connection->has_end = 1;
		return ERR_OK;
	}
	if (buffer->tot_len > RECEIVED_BYTES - connection->unread)
		abort(); /* lwIP took more than the window that it has offered */
	pbuf_copy_partial(buffer, connection->received + connection->unread, buffer->tot_len, 0);
	connection->unread += buffer->tot_len;
	pbuf_free(buffer);
	return ERR_OK;
}

/* The structure is gone already. ERR_CLSD: both sides had said their end, and the peer has acknowledged ours. */
static void on_error(void *of, err_t error)
{
	struct connection *connection = of;

	connection->pcb = NULL;
	connection->state = CLOSED;
	connection->error = error == ERR_CLSD ? 0 : error;
}

static err_t on_connected(void *of, struct tcp_pcb *pcb, err_t error)
{
	(void)of;
	(void)pcb;
	return error;
}

static struct connection *make_connection(struct tcp_pcb *pcb)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		abort();
	connection->pcb = pcb;
	connection->next = connections;
	connections = connection;
	tcp_arg(pcb, connection);
	tcp_recv(pcb, on_received);
	tcp_err(pcb, on_error);
	return connection;
}

static err_t on_accepted(void *of, struct tcp_pcb *pcb, err_t error)
{
	struct connection *listener = of, **last = &listener->accepted;

	if (error != ERR_OK || !pcb)
		return ERR_VAL;
	while (*last)
		last = &(*last)->accepted;
	*last = make_connection(pcb);
	return ERR_OK;
}

static void forget(struct connection *connection)
{
	struct connection **link = &connections;

	while (*link != connection)
		link = &(*link)->next;
	*link = connection->next;
	free(connection);
}

/* -- the stack -- */

static err_t set_up(struct netif *of)
{
	of->name[0] = 'b';
	of->name[1] = 'y';
	of->output = output_ip4;
	of->output_ip6 = output_ip6;
	return ERR_OK;
}

static void set_up_ip6(const char *text)
{
	ip6_addr_t address;
	s8_t index;

	if (ip6addr_aton(text, &address) && netif_add_ip6_address(&interface, &address, &index) == ERR_OK)
		netif_ip6_addr_set_state(&interface, index, IP6_ADDR_PREFERRED); /* no look for duplicates: nobody answers */
}

/* Makes the stack. Addresses as text; its network is the first three bytes of `ip4`. 0, or -1: it has been made, or a bad address. */
PEER_API int lwip_peer_make(const char *ip4, const char *ip6, uint32_t mtu, uint32_t seed, uint32_t begins_ms)
{
	ip4_addr_t address, mask, none;

	if (interface.output || !ip4addr_aton(ip4, &address))
		return -1;
	now_ms = begins_ms;
	srand(seed); /* LWIP_RAND */
	lwip_init();
	IP4_ADDR(&mask, 255, 255, 255, 0);
	ip4_addr_set_zero(&none);
	if (!netif_add(&interface, &address, &mask, &none, NULL, set_up, ip_input))
		return -1;
	interface.mtu = (u16_t)mtu;
	interface.mtu6 = (u16_t)mtu;
	netif_set_default(&interface);
	set_up_ip6(ip6);
	netif_set_link_up(&interface);
	netif_set_up(&interface);
	return 0;
}

PEER_API void lwip_peer_set_now(uint32_t ms)
{
	now_ms = ms;
}

/* An IP packet has come. 0; -1: no memory. Not from PBUF_POOL: of that Debian's library takes buffers of 592 bytes, and says that they have
 * 1,536. */
PEER_API int lwip_peer_input(const uint8_t *packet, uint32_t bytes)
{
	struct pbuf *buffer = pbuf_alloc(PBUF_RAW, (u16_t)bytes, PBUF_RAM);

	if (!buffer)
		return -1;
	pbuf_take(buffer, packet, (u16_t)bytes);
	if (ip_input(buffer, &interface) != ERR_OK)
		pbuf_free(buffer);
	let_go_of_ended();
	return 0;
}

/* Connections that lwIP still has, whoever knows of them. */
PEER_API int lwip_peer_connections(void)
{
	int count = 0;

	for (const struct tcp_pcb *each = tcp_active_pcbs; each; each = each->next)
		count++;
	for (const struct tcp_pcb *each = tcp_tw_pcbs; each; each = each->next)
		count++;
	return count;
}

/* Does what is due. Milliseconds until it is to be called again; -1: not before something else happens: other timers of lwIP than
 * those of TCP matter to nobody here. */
PEER_API int lwip_peer_run_timers(void)
{
	sys_check_timeouts();
	let_go_of_ended();
	return lwip_peer_connections() ? (int)(TIMER_GRID_MS - now_ms % TIMER_GRID_MS) : -1;
}

/* -- connections -- */

/* A new one, bound. NULL: no memory, a bad address, or a port that is in use. */
PEER_API struct connection *lwip_peer_open(const char *local, uint16_t port)
{
	ip_addr_t address;
	struct tcp_pcb *pcb;

	if (!ipaddr_aton(local, &address))
		return NULL;
	pcb = tcp_new_ip_type(IP_GET_TYPE(&address));
	if (!pcb)
		return NULL;
	if (tcp_bind(pcb, &address, port) != ERR_OK) {
		tcp_abort(pcb);
		return NULL;
	}
	return make_connection(pcb);
}

PEER_API int lwip_peer_connect(struct connection *connection, const char *remote, uint16_t port)
{
	ip_addr_t address;

	if (!connection->pcb || !ipaddr_aton(remote, &address))
		return ERR_VAL;
	return tcp_connect(connection->pcb, &address, port, on_connected);
}

/* The structure of a listener is another, smaller one, which takes over the argument. */
PEER_API int lwip_peer_listen(struct connection *connection, uint8_t backlog)
{
	struct tcp_pcb *listener = tcp_listen_with_backlog(connection->pcb, backlog);

	if (!listener)
		return ERR_MEM;
	connection->pcb = listener;
	tcp_accept(listener, on_accepted);
	return 0;
}

/* NULL: there is none. */
PEER_API struct connection *lwip_peer_accept(struct connection *listener)
{
	struct connection *first = listener->accepted;

	if (first) {
		listener->accepted = first->accepted;
		first->accepted = NULL;
	}
	return first;
}

PEER_API uint32_t lwip_peer_state(const struct connection *connection)
{
	return connection->pcb ? (uint32_t)connection->pcb->state : connection->state;
}

/* Whether lwIP takes bytes now, and how many. */
static uint32_t room_to_send(const struct tcp_pcb *pcb)
{
	if (!pcb || (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT))
		return 0;
	return pcb->snd_queuelen < TCP_SND_QUEUELEN ? tcp_sndbuf(pcb) : 0;
}

PEER_API uint32_t lwip_peer_ready(const struct connection *connection)
{
	uint32_t bits = 0;

	if (connection->pcb && connection->pcb->state == LISTEN)
		return connection->accepted ? READABLE : 0;
	if (connection->unread || connection->has_end)
		bits |= READABLE;
	if (connection->has_end)
		bits |= READ_HANG_UP;
	if (connection->error)
		bits |= READABLE | WRITABLE | FAILED | HUNG_UP;
	if (room_to_send(connection->pcb))
		bits |= WRITABLE;
	return bits;
}

/* The error that ended it, which is forgotten then; 0: none. */
PEER_API int lwip_peer_take_error(struct connection *connection)
{
	int error = connection->error;

	connection->error = 0;
	return error;
}

/* Bytes taken over; 0: none now; ERR_CONN: not connected; or what ended the connection. */
PEER_API int lwip_peer_send(struct connection *connection, const uint8_t *from, uint32_t bytes)
{
	uint32_t room = room_to_send(connection->pcb);
	int result;

	if (connection->error)
		return lwip_peer_take_error(connection);
	if (!connection->pcb)
		return ERR_CONN;
	if (bytes > room)
		bytes = room;
	if (!bytes)
		return 0;
	result = tcp_write(connection->pcb, from, (u16_t)bytes, TCP_WRITE_FLAG_COPY);
	if (result == ERR_MEM)
		return 0;
	if (result == ERR_OK)
		result = tcp_output(connection->pcb);
	return result == ERR_OK || result == ERR_MEM ? (int)bytes : result;
}

/* Tells lwIP what was read, but for what is withheld: all of it at the end, or lwIP would reset instead of close. */
static void credit(struct connection *connection)
{
	uint32_t keep = connection->has_end ? 0 : connection->withheld;

	if (!connection->pcb || connection->uncredited <= keep)
		return;
	tcp_recved(connection->pcb, (u16_t)(connection->uncredited - keep));
	connection->uncredited = keep;
}

/* Bytes; 0: the end; ERR_WOULDBLOCK; or what ended the connection. */
PEER_API int lwip_peer_receive(struct connection *connection, uint8_t *to, uint32_t most)
{
	uint32_t count = most < connection->unread ? most : connection->unread;

	if (!count && !connection->has_end && connection->error)
		return lwip_peer_take_error(connection);
	if (!count && !connection->has_end)
		return connection->pcb ? ERR_WOULDBLOCK : ERR_CONN;
	memcpy(to, connection->received, count);
	connection->unread -= count;
	memmove(connection->received, connection->received + count, connection->unread);
	connection->uncredited += count;
	credit(connection);
	return (int)count;
}

/* From now on so many bytes of the window stay closed, as if a program left that much unread: the way to a small window. */
PEER_API void lwip_peer_withhold(struct connection *connection, uint32_t bytes)
{
	connection->withheld = bytes;
}

PEER_API void lwip_peer_set_nodelay(struct connection *connection, int is_on)
{
	if (!connection->pcb)
		return;
	if (is_on)
		tcp_nagle_disable(connection->pcb);
	else
		tcp_nagle_enable(connection->pcb);
}

/* 0: no keepalive. */
PEER_API void lwip_peer_set_keepalive(struct connection *connection, uint32_t idle_ms)
{
	if (!connection->pcb)
		return;
	if (!idle_ms) {
		connection->pcb->so_options &= (u8_t)~SOF_KEEPALIVE;
		return;
	}
	connection->pcb->so_options |= SOF_KEEPALIVE;
	connection->pcb->keep_idle = idle_ms;
}

/* No more is sent. */
PEER_API int lwip_peer_shut_down(struct connection *connection)
{
	return connection->pcb ? tcp_shutdown(connection->pcb, 0, 1) : ERR_CONN;
}

/* The connection goes on to its end without us; the caller's no more. */
PEER_API int lwip_peer_close(struct connection *connection)
{
	struct tcp_pcb *pcb = connection->pcb;
	int result = ERR_OK;

	if (pcb) {
		connection->withheld = 0;
		if (pcb->state != LISTEN)
			credit(connection);
		let_go(connection);
		result = tcp_close(pcb);
		if (result != ERR_OK)
			tcp_abort(pcb);
	}
	forget(connection);
	return result;
}

/* The peer is told by RST. Close follows. */
PEER_API void lwip_peer_abort(struct connection *connection)
{
	struct tcp_pcb *pcb = connection->pcb;

	if (!pcb)
		return;
	let_go(connection);
	connection->state = CLOSED;
	connection->error = ERR_ABRT;
	tcp_abort(pcb);
}
#endif
