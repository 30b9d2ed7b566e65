/* One exact lookup with inet_diag: the mirrored address pair, in the socket's own network namespace or not at all. */
#include "local/diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>

#include "base/sys.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

static uint64_t socket_u64(int fd, int name)
{
	uint64_t value = 0;
	unsigned bytes = sizeof(value);

	return sys_getsockopt(fd, SOL_SOCKET, name, &value, &bytes) < 0 ? 0 : value;
}

uint64_t diag_cookie(int fd)
{
	return socket_u64(fd, SO_COOKIE);
}

static int put_address(const union address *address, __be32 *host, __be16 *port)
{
	if (address->any.sa_family == AF_INET) {
		host[0] = address->in.sin_addr.s_addr;
		*port = address->in.sin_port;
		return 0;
	}
	if (address->any.sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	memcpy(host, &address->in6.sin6_addr, 16);
	*port = address->in6.sin6_port;
	return 0;
}

static int request_fill(int fd, struct request *request)
{
	union address here, there;
	unsigned here_bytes = sizeof(here), there_bytes = sizeof(there);
	long error = sys_getname(SYS_getsockname, fd, &here, &here_bytes);

	if (!error)
		error = sys_getname(SYS_getpeername, fd, &there, &there_bytes);
	if (error)
		return (int)error;
	memset(request, 0, sizeof(*request));
	request->header.nlmsg_len = sizeof(*request);
	request->header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request->header.nlmsg_flags = NLM_F_REQUEST;
	request->body.sdiag_family = (uint8_t)here.any.sa_family;
	request->body.sdiag_protocol = IPPROTO_TCP;
	request->body.idiag_states = ~0u;
	request->body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	request->body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (here.any.sa_family == AF_INET6)
		request->body.id.idiag_if = here.in6.sin6_scope_id;
	if (put_address(&there, request->body.id.idiag_src, &request->body.id.idiag_sport))
		return -EAFNOSUPPORT;
	return put_address(&here, request->body.id.idiag_dst, &request->body.id.idiag_dport);
}

static int reply_read(const char *reply, long bytes, const struct request *request, struct diag_peer *peer)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)reply;
	const struct inet_diag_msg *found = NLMSG_DATA(header);

	if (bytes < (long)sizeof(*header))
		return -EPROTO;
	if (header->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = NLMSG_DATA(header);

		return bytes < (long)NLMSG_LENGTH(sizeof(*error)) || !error->error ? -EPROTO : error->error;
	}
	if (bytes < (long)NLMSG_LENGTH(sizeof(*found)))
		return -EPROTO;
	/* A listener may answer in place of a connection that is not there. */
	if (found->id.idiag_sport != request->body.id.idiag_sport || found->id.idiag_dport != request->body.id.idiag_dport)
		return -ENOENT;
	peer->cookie = (uint64_t)found->id.idiag_cookie[1] << 32 | found->id.idiag_cookie[0];
	peer->user = found->idiag_uid;
	peer->unread = found->idiag_rqueue;
	peer->inode = found->idiag_inode;
	return 0;
}

int diag_find_peer(int fd, struct diag_peer *peer)
{
	struct request request;
	char reply[1024] __attribute__((aligned(8)));
	long netlink, result = request_fill(fd, &request);

	if (result)
		return (int)result;
	netlink = sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (netlink < 0)
		return (int)netlink;
	if (socket_u64(fd, SO_NETNS_COOKIE) != socket_u64((int)netlink, SO_NETNS_COOKIE))
		result = -ENOENT;
	else
		result = sys_sendto((int)netlink, &request, sizeof(request), 0);
	if (result >= 0)
		result = sys_recvfrom((int)netlink, reply, sizeof(reply), MSG_DONTWAIT);
	sys_close((int)netlink);
	return result < 0 ? (int)result : reply_read(reply, result, &request, peer);
}
