/* The kernel's routes, rules, addresses, links and neighbours as a table in memory: written by the keeper from netlink
 * (src/byway/keeper/mirror.py, which parses this header), read here without system calls, by any number of processes.
 *
 *   struct mirror | links | addresses | rules | hops | routes | neighbours
 *
 * `sequence` is odd while the writer is at it, and another one afterwards: who reads looks at it before and after, and reads again if
 * it has changed. What is read may be nonsense until then: every index is bounded. Addresses are of 16 bytes, IPv4 in ::ffff:0:0/96,
 * and a prefix is of 128 bits. In the subset of C that src/byway/shm/layout.py understands. */
#ifndef BYWAY_MIRROR_MIRROR_H
#define BYWAY_MIRROR_MIRROR_H

#include <stdint.h>

#define MIRROR_MAGIC 0x31796177794200
#define MIRROR_LINKS_MAX 256
#define MIRROR_ADDRESSES_MAX 1024
#define MIRROR_RULES_MAX 256
#define MIRROR_HOPS_MAX 8192
#define MIRROR_ROUTES_MAX 8192
#define MIRROR_NEIGHBOURS_MAX 4096

enum mirror_link_kind {
	MIRROR_LINK_OTHER,
	MIRROR_LINK_LOOPBACK,
	MIRROR_LINK_VETH,
	MIRROR_LINK_VLAN,
	MIRROR_LINK_BOND,
	MIRROR_LINK_TEAM,
	MIRROR_LINK_BRIDGE
};

struct mirror_link {
	uint32_t index;
	uint32_t mtu; /* of IP packets */
	uint32_t lower; /* of a VLAN: what it lies on; 0: none */
	uint32_t master; /* the bond, team or bridge that it is a member of; 0: none */
	uint32_t active; /* of a bond or team: the member that sends; 0: not known */
	uint16_t vlan; /* of a VLAN: its number */
	uint8_t kind; /* enum mirror_link_kind */
	uint8_t is_up; /* and has a carrier */
	uint8_t mac[6];
	uint8_t pad[2];
};

enum mirror_address_flag {
	MIRROR_SECONDARY = 1,
	MIRROR_DEPRECATED = 2,
	MIRROR_TENTATIVE = 4
};

struct mirror_address {
	uint8_t address[16];
	uint32_t link;
	uint8_t prefix;
	uint8_t scope; /* RT_SCOPE_* of include/uapi/linux/rtnetlink.h */
	uint8_t flags; /* enum mirror_address_flag */
	uint8_t pad;
};

enum mirror_rule_action {
	MIRROR_RULE_TABLE,
	MIRROR_RULE_REFUSE, /* blackhole, unreachable, prohibit */
	MIRROR_RULE_UNKNOWN /* something that we do not follow: the kernel is to be asked */
};

struct mirror_rule {
	uint8_t from[16];
	uint8_t to[16];
	uint32_t priority;
	uint32_t table;
	uint32_t mark;
	uint32_t mark_mask; /* 0: any mark */
	int32_t suppress_prefix; /* routes of no more than so many bits of the family's own do not count; -1: all do */
	uint8_t from_prefix;
	uint8_t to_prefix;
	uint8_t family; /* 4 or 6 */
	uint8_t action; /* enum mirror_rule_action */
	uint8_t is_not; /* it is for what does not match */
	uint8_t pad[3];
};

struct mirror_hop {
	uint8_t gateway[16]; /* zeros: the destination itself */
	uint32_t link;
	uint32_t weight; /* 1 and more */
};

/* RTN_* of include/uapi/linux/rtnetlink.h, those that are told apart here. */
enum mirror_route_type {
	MIRROR_UNICAST = 1,
	MIRROR_LOCAL = 2,
	MIRROR_BROADCAST = 3,
	MIRROR_MULTICAST = 5,
	MIRROR_THROW = 9
};

struct mirror_route {
	uint8_t destination[16];
	uint8_t source[16]; /* preferred; zeros: to be chosen */
	uint32_t table;
	uint32_t metric;
	uint32_t first_hop;
	uint32_t hops;
	uint32_t mtu; /* 0: the link's */
	uint8_t prefix;
	uint8_t type; /* RTN_* */
	uint8_t scope;
	uint8_t is_unknown; /* it has something that we do not follow */
};

struct mirror_neighbour {
	uint8_t address[16];
	uint32_t link;
	uint8_t mac[6];
	uint8_t is_usable; /* reachable, stale, permanent or being asked about; else it has no MAC */
	uint8_t pad;
};

struct mirror_counts {
	uint32_t links;
	uint32_t addresses;
	uint32_t rules;
	uint32_t hops;
	uint32_t routes;
	uint32_t neighbours;
};

struct mirror {
	uint64_t magic;
	uint32_t sequence;
	uint32_t is_complete; /* 0: not all of the kernel's fits, so nothing is to be believed that is not found */
	uint64_t changed_at_ns; /* CLOCK_MONOTONIC */
	struct mirror_counts counts;
	struct mirror_link links[MIRROR_LINKS_MAX];
	struct mirror_address addresses[MIRROR_ADDRESSES_MAX];
	struct mirror_rule rules[MIRROR_RULES_MAX]; /* by priority */
	struct mirror_hop hops[MIRROR_HOPS_MAX];
	struct mirror_route routes[MIRROR_ROUTES_MAX]; /* the longest prefix first, then the least metric */
	struct mirror_neighbour neighbours[MIRROR_NEIGHBOURS_MAX];
};

#endif
