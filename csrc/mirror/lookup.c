/* The order of things is the kernel's (net/ipv4/fib_rules.c, fib_trie.c; include/net/addrconf.h); tests/wire/test_mirror.py asks both. */
#include "mirror/lookup.h"

#include "base/cpu.h"
#include <string.h>

#define FAMILY_BITS 96u /* a prefix of IPv4 is so many bits shorter by its own count */
#define SCOPE_LINK 253
#define TRIES_MAX 1000000u

static struct address address_at(const uint8_t *sixteen)
{
	return address_of_ipv6(sixteen);
}

static int is_zero(const uint8_t *sixteen)
{
	static const uint8_t nothing[16];

	return !memcmp(sixteen, nothing, sizeof(nothing));
}

/* The first `bits` bits are the same. */
static int matches(const uint8_t *one, const uint8_t *other, uint32_t bits)
{
	uint32_t bytes = bits / 8, rest = bits % 8;

	if (bits > 128 || memcmp(one, other, bytes))
		return 0;
	return !rest || !((one[bytes] ^ other[bytes]) >> (8 - rest));
}

static uint32_t same_bits(const uint8_t *one, const uint8_t *other)
{
	uint32_t bits = 0;

	while (bits < 128 && matches(one, other, bits + 1))
		bits++;
	return bits;
}

static uint32_t bounded(uint32_t count, uint32_t most)
{
	return count < most ? count : most;
}

/* -- links and source addresses ------------------------------------------------------------------------------------------- */

static const struct mirror_link *link_of(const struct mirror *mirror, uint32_t index)
{
	uint32_t count = bounded(mirror->counts.links, MIRROR_LINKS_MAX);

	for (uint32_t i = 0; i < count; i++)
		if (mirror->links[i].index == index)
			return &mirror->links[i];
	return NULL;
}

/* IPv4: the first primary address in the gateway's network, else the first (inet_select_addr). */
static const struct mirror_address *source_v4(const struct mirror *mirror, uint32_t link, const uint8_t *gateway)
{
	uint32_t count = bounded(mirror->counts.addresses, MIRROR_ADDRESSES_MAX);
	const struct mirror_address *first = NULL;

	for (uint32_t i = 0; i < count; i++) {
		const struct mirror_address *one = &mirror->addresses[i];
		struct address address = address_at(one->address);

		if (one->link != link || one->flags & MIRROR_SECONDARY || !address_is_ipv4(&address) || one->scope > SCOPE_LINK)
			continue;
		if (is_zero(gateway) || matches(one->address, gateway, one->prefix))
			return one;
		first = first ? first : one;
	}
	return first;
}

static int is_link_local(const uint8_t *address)
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

/* RFC 6724, 5: scope, then not deprecated, then the outgoing link, then the longest match. */
static uint32_t worth_v6(const struct mirror_address *one, uint32_t link, const uint8_t *destination)
{
	if (one->flags & MIRROR_TENTATIVE || is_link_local(one->address) != is_link_local(destination))
		return 0;
	if (is_link_local(destination) && one->link != link)
		return 0;
	return 1 + (one->flags & MIRROR_DEPRECATED ? 0 : 1024) + (one->link == link ? 512 : 0) +
	       same_bits(one->address, destination);
}

static const struct mirror_address *source_v6(const struct mirror *mirror, uint32_t link, const uint8_t *destination)
{
	uint32_t count = bounded(mirror->counts.addresses, MIRROR_ADDRESSES_MAX), best = 0;
	const struct mirror_address *found = NULL;

	for (uint32_t i = 0; i < count; i++) {
		const struct mirror_address *one = &mirror->addresses[i];
		struct address address = address_at(one->address);
		uint32_t worth = address_is_ipv4(&address) || one->address[15] == 0 ? 0 : worth_v6(one, link, destination);

		if (worth > best) {
			best = worth;
			found = one;
		}
	}
	return found;
}

/* -- routes --------------------------------------------------------------------------------------------------------------- */

static int family_of(const struct address *address)
{
	return address_is_ipv4(address) ? 4 : 6;
}

static int route_matches(const struct mirror_route *route, const struct mirror_question *question)
{
	struct address destination = address_at(route->destination);

	return family_of(&destination) == family_of(&question->destination) &&
	       matches(route->destination, question->destination.bytes, route->prefix);
}

/* The first in its order that matches; NULL: none. */
static const struct mirror_route *find_route(const struct mirror *mirror, uint32_t table,
                                             const struct mirror_question *question)
{
	uint32_t count = bounded(mirror->counts.routes, MIRROR_ROUTES_MAX);

	for (uint32_t i = 0; i < count; i++)
		if (mirror->routes[i].table == table && route_matches(&mirror->routes[i], question))
			return &mirror->routes[i];
	return NULL;
}

/* One of several by their weights: for a flow always the same. */
static const struct mirror_hop *hop_of(const struct mirror *mirror, const struct mirror_route *route, uint32_t flow)
{
	uint32_t first = bounded(route->first_hop, MIRROR_HOPS_MAX - 1);
	uint32_t count = bounded(route->hops, MIRROR_HOPS_MAX - first), all = 0, at;

	for (uint32_t i = 0; i < count; i++)
		all += mirror->hops[first + i].weight;
	if (!all)
		return NULL;
	at = flow % all;
	for (uint32_t i = 0; i < count; i++) {
		if (at < mirror->hops[first + i].weight)
			return &mirror->hops[first + i];
		at -= mirror->hops[first + i].weight;
	}
	return NULL;
}

static void choose_source(const struct mirror *mirror, const struct mirror_route *route, const struct mirror_hop *hop,
                          const struct mirror_question *question, struct mirror_way *way)
{
	const struct mirror_address *found;

	way->source = question->source;
	if (!address_is_unspecified(&question->source))
		return;
	way->source = address_at(route->source);
	if (!is_zero(route->source))
		return;
	found = address_is_ipv4(&question->destination) ? source_v4(mirror, hop->link, hop->gateway)
	                                                : source_v6(mirror, hop->link, question->destination.bytes);
	if (found)
		way->source = address_at(found->address);
}

static int follow(const struct mirror *mirror, const struct mirror_route *route, const struct mirror_question *question,
                  struct mirror_way *way)
{
	const struct mirror_hop *hop;
	const struct mirror_link *link;

	if (route->is_unknown)
		return MIRROR_ASK_KERNEL;
	if (route->type == MIRROR_LOCAL || route->type == MIRROR_BROADCAST || route->type == MIRROR_MULTICAST)
		return MIRROR_HERE;
	if (route->type != MIRROR_UNICAST)
		return MIRROR_NO_WAY;
	hop = hop_of(mirror, route, question->flow);
	link = hop ? link_of(mirror, hop->link) : NULL;
	if (!link)
		return MIRROR_ASK_KERNEL;
	way->link = hop->link;
	way->next_hop = is_zero(hop->gateway) ? question->destination : address_at(hop->gateway);
	way->mtu = route->mtu ? route->mtu : link->mtu;
	choose_source(mirror, route, hop, question, way);
	return MIRROR_WAY;
}

/* -- rules ---------------------------------------------------------------------------------------------------------------- */

static int rule_matches(const struct mirror_rule *rule, const struct mirror_question *question)
{
	static const struct address nobody;
	struct address source = question->source;
	int is_met;

	if (rule->family != family_of(&question->destination))
		return 0;
	if (address_is_unspecified(&source)) /* as the kernel has it: 0.0.0.0 or :: is in no network but all */
		source = address_is_ipv4(&question->destination) ? address_of_ipv4(nobody.bytes) : nobody;
	is_met = matches(rule->from, source.bytes, rule->from_prefix) &&
	         matches(rule->to, question->destination.bytes, rule->to_prefix) &&
	         (question->mark & rule->mark_mask) == rule->mark;
	return is_met != rule->is_not;
}

/* A route that a rule finds, and does not pass over. */
static int is_suppressed(const struct mirror_rule *rule, const struct mirror_route *route)
{
	int32_t own_bits = (int32_t)route->prefix - (rule->family == 4 ? (int32_t)FAMILY_BITS : 0);

	return rule->suppress_prefix >= 0 && own_bits <= rule->suppress_prefix;
}

static int ask(const struct mirror *mirror, const struct mirror_question *question, struct mirror_way *way)
{
	uint32_t count = bounded(mirror->counts.rules, MIRROR_RULES_MAX);

	if (address_is_multicast(&question->destination) || address_is_broadcast(&question->destination))
		return MIRROR_HERE;
	for (uint32_t i = 0; i < count; i++) {
		const struct mirror_rule *rule = &mirror->rules[i];
		const struct mirror_route *route;

		if (!rule_matches(rule, question))
			continue;
		if (rule->action != MIRROR_RULE_TABLE)
			return rule->action == MIRROR_RULE_REFUSE ? MIRROR_NO_WAY : MIRROR_ASK_KERNEL;
		route = find_route(mirror, rule->table, question);
		if (!route || route->type == MIRROR_THROW || is_suppressed(rule, route))
			continue;
		return follow(mirror, route, question, way);
	}
	return mirror->is_complete ? MIRROR_NO_WAY : MIRROR_ASK_KERNEL;
}

/* -- reading while somebody may write ------------------------------------------------------------------------------------- */

uint32_t byway_mirror_sequence(const struct mirror *mirror)
{
	return load_acquire(&mirror->sequence);
}

static uint32_t begin(const struct mirror *mirror)
{
	uint32_t sequence, tries = 0;

	while ((sequence = load_acquire(&mirror->sequence)) & 1 && tries++ < TRIES_MAX)
		cpu_pause();
	return sequence;
}

static int is_whole(const struct mirror *mirror, uint32_t sequence)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return load_relaxed(&mirror->sequence) == sequence && !(sequence & 1);
}

/* A writer that has died in the middle leaves the number odd: then the kernel is asked. */
int byway_mirror_find(const struct mirror *mirror, const struct mirror_question *question, struct mirror_way *way)
{
	for (int tries = 0; tries < 8; tries++) {
		uint32_t sequence = begin(mirror);
		struct mirror_way found = {0};
		int answer = ask(mirror, question, &found);

		if (is_whole(mirror, sequence)) {
			*way = found;
			return answer;
		}
	}
	return MIRROR_ASK_KERNEL;
}

/* One step down from a link; NULL: there is none that we follow. */
static const struct mirror_link *below(const struct mirror *mirror, const struct mirror_link *link,
                                       struct mirror_adapter *adapter)
{
	if (link->kind == MIRROR_LINK_BOND || link->kind == MIRROR_LINK_TEAM)
		return link_of(mirror, link->active);
	if (link->kind != MIRROR_LINK_VLAN || adapter->vlan_count == 2)
		return NULL;
	adapter->vlans[1] = adapter->vlans[0];
	adapter->vlans[0] = link->vlan;
	adapter->vlan_count++;
	return link_of(mirror, link->lower);
}

static int carries_frames(const struct mirror_link *link)
{
	return link->kind == MIRROR_LINK_OTHER || link->kind == MIRROR_LINK_VETH;
}

static int find_adapter(const struct mirror *mirror, uint32_t index, struct mirror_adapter *adapter)
{
	const struct mirror_link *link = link_of(mirror, index);

	if (link)
		memcpy(adapter->mac, link->mac, sizeof(adapter->mac));
	for (int steps = 0; link && link->is_up && steps < 4; steps++) {
		if (carries_frames(link)) {
			adapter->link = link->index;
			return 1;
		}
		link = below(mirror, link, adapter);
	}
	return 0;
}

int byway_mirror_adapter(const struct mirror *mirror, uint32_t link, struct mirror_adapter *adapter)
{
	for (int tries = 0; tries < 8; tries++) {
		uint32_t sequence = begin(mirror);
		struct mirror_adapter found = {0};
		int is_found = find_adapter(mirror, link, &found);

		if (is_whole(mirror, sequence)) {
			*adapter = found;
			return is_found;
		}
	}
	return 0;
}

static int find_neighbour(const struct mirror *mirror, uint32_t link, const struct address *address, uint8_t mac[6])
{
	uint32_t count = bounded(mirror->counts.neighbours, MIRROR_NEIGHBOURS_MAX);

	for (uint32_t i = 0; i < count; i++) {
		const struct mirror_neighbour *one = &mirror->neighbours[i];

		if (one->link == link && one->is_usable && !memcmp(one->address, address->bytes, sizeof(one->address))) {
			memcpy(mac, one->mac, sizeof(one->mac));
			return 1;
		}
	}
	return 0;
}

int byway_mirror_neighbour(const struct mirror *mirror, uint32_t link, const struct address *address, uint8_t mac[6])
{
	for (int tries = 0; tries < 8; tries++) {
		uint32_t sequence = begin(mirror);
		int found = find_neighbour(mirror, link, address, mac);

		if (is_whole(mirror, sequence))
			return found;
	}
	return 0;
}
