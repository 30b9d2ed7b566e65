/* What a congestion control decides: cwnd and ssthresh, in bytes. What is lost, and what is sent again, is not its matter
 * (tcp/recover.c). Under the stack's lock. */
#ifndef BYWAY_TCP_CONGESTION_H
#define BYWAY_TCP_CONGESTION_H

#include "tcp/tcp.h"

struct congestion {
	const char *name;
	/* The connection is established: cwnd is the initial window already (RFC 6928). */
	void (*begin)(const struct stack *stack, struct tcp *tcp);
	/* `bytes` new bytes were acknowledged outside of a recovery, and cwnd was what held the sender back. */
	void (*acknowledged)(const struct stack *stack, struct tcp *tcp, uint32_t bytes);
	/* A loss: ssthresh for the recovery that begins. `flight`: FlightSize of RFC 5681. */
	void (*lost)(const struct stack *stack, struct tcp *tcp, uint32_t flight);
};

enum congestion_number {
	CONGESTION_NEWRENO,
	CONGESTION_ALGORITHMS
};

extern const struct congestion congestion_newreno;

const struct congestion *congestion_of(const struct tcp *tcp);

/* RFC 6928, 2; with fewer segments asked for, RFC 3390's bound. */
uint32_t congestion_initial_window(const struct stack *stack, const struct tcp *tcp);
/* RFC 5681, 4.1: after an idle time of more than a timeout. */
void congestion_after_idle(const struct stack *stack, struct tcp *tcp);

#endif
