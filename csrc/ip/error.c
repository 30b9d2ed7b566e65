/* The numbers are those that Linux gives for the same message. */
#include "ip/error.h"

#include <errno.h>
#include <stddef.h>

/* By code, of type 3 (RFC 792; RFC 1122, 3.2.2.1; RFC 1812, 5.2.7.1) */
static const uint8_t unreachable_v4[] = {
	ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED, EMSGSIZE,     EOPNOTSUPP,   ENETUNREACH,  EHOSTDOWN,
	ENONET,      ENETUNREACH,  EHOSTUNREACH, ENETUNREACH,  EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH,
};

/* By code, of type 1 (RFC 4443, 3.1) */
static const uint8_t unreachable_v6[] = {ENETUNREACH, EACCES, EHOSTUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES, EACCES};

static int by_code(const uint8_t *table, size_t count, uint8_t code)
{
	return code < count ? table[code] : EHOSTUNREACH;
}

int ip_error_number(const struct icmp_error *error)
{
	int is_v4 = address_is_ipv4(&error->destination);

	if (error->kind == ICMP_TOO_BIG)
		return EMSGSIZE;
	if (is_v4 && error->type == ICMP_V4_UNREACHABLE)
		return by_code(unreachable_v4, sizeof(unreachable_v4), error->code);
	if (!is_v4 && error->type == ICMP_V6_UNREACHABLE)
		return by_code(unreachable_v6, sizeof(unreachable_v6), error->code);
	if (error->type == (is_v4 ? ICMP_V4_PARAMETER : ICMP_V6_PARAMETER))
		return EPROTO;
	return EHOSTUNREACH;
}
