/* What a process asks the mirror (mirror/mirror.h). Never waits for longer than the writer writes, some 100 us; any thread; async-signal
 * safe. */
#ifndef BYWAY_MIRROR_LOOKUP_H
#define BYWAY_MIRROR_LOOKUP_H

#include "frame/address.h"
#include "mirror/mirror.h"

#define MIRROR_API __attribute__((visibility("default")))

enum mirror_answer {
	MIRROR_WAY, /* `way` says by where */
	MIRROR_HERE, /* the destination is this machine, or many at once: broadcast, multicast */
	MIRROR_NO_WAY, /* no route, or one that refuses */
	MIRROR_ASK_KERNEL /* there is something that the mirror does not follow */
};

struct mirror_question {
	struct address destination;
	struct address source; /* unspecified: to be chosen */
	uint32_t mark; /* SO_MARK */
	uint32_t flow; /* any number that stays the same for a flow: which of several ways */
};

struct mirror_way {
	struct address next_hop;
	struct address source;
	uint32_t link;
	uint32_t mtu;
};
/* What a link comes down to: a queue's adapter, and what a frame must say. */
struct mirror_adapter {
	uint32_t link;
	uint16_t vlans[2]; /* tags, the outer first */
	uint8_t vlan_count;
	uint8_t mac[6]; /* the frame's source: of the link that was asked about */
	uint8_t pad;
};

_Static_assert(sizeof(struct mirror_adapter) == 16, "read by Python");
_Static_assert(sizeof(struct mirror_question) == 40 && sizeof(struct mirror_way) == 40, "read by Python");

/* RFC 1122, 3.3.1 and RFC 4291; ip-rule(8), ip-route(8): the rules in their order, in each table the longest prefix. enum
 * mirror_answer. */
MIRROR_API int byway_mirror_find(const struct mirror *mirror, const struct mirror_question *question,
                                 struct mirror_way *way);
/* Over VLANs and bonds to what carries a link's frames now. 1; 0: it is down, or nothing that we follow (a bridge, a team whose member
 * is not known): the kernel is to send. */
MIRROR_API int byway_mirror_adapter(const struct mirror *mirror, uint32_t link, struct mirror_adapter *adapter);
/* The MAC of a neighbour. 1; 0: it is not known, and the kernel must ask for it. */
MIRROR_API int byway_mirror_neighbour(const struct mirror *mirror, uint32_t link, const struct address *address,
                                      uint8_t mac[6]);
/* Changes whenever anything does: what was found before is to be asked again. */
MIRROR_API uint32_t byway_mirror_sequence(const struct mirror *mirror);

#endif
