/* What an ICMP error is to a program: an errno (RFC 1122, 3.2.2 and 4.2.3.9; icmp(7)). */
#ifndef BYWAY_IP_ERROR_H
#define BYWAY_IP_ERROR_H

#include "frame/icmp.h"

/* EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, ENOPROTOOPT, EPROTO, EACCES or EMSGSIZE. */
int ip_error_number(const struct icmp_error *error);

#endif
