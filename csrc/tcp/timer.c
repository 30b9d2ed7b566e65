/* A connection's deadlines, of which the wheel knows the earliest. Moving one to later, or stopping it, does not touch the wheel: it
 * then comes early once, finds nothing due, and is set again. */
#include "tcp/rules.h"

static uint64_t tick_of(uint64_t deadline_ns)
{
	return deadline_ns == STACK_NEVER ? WHEEL_NEVER : (deadline_ns + STACK_NS_PER_TICK - 1) / STACK_NS_PER_TICK;
}

static void set_wheel(struct stack *stack, uint32_t index, uint64_t tick)
{
	wheel_set(&stack->wheel, stack_timers(stack), index, tick);
}

void timer_set(struct stack *stack, struct tcp *tcp, enum tcp_timer timer, uint64_t deadline_ns)
{
	uint32_t index = endpoint_index(stack, tcp);

	tcp->deadlines_ns[timer] = deadline_ns;
	if (tick_of(deadline_ns) < stack_timers(stack)[index].deadline)
		set_wheel(stack, index, tick_of(deadline_ns));
}

void timer_stop(struct tcp *tcp, enum tcp_timer timer)
{
	tcp->deadlines_ns[timer] = STACK_NEVER;
}

int timer_is_set(const struct tcp *tcp, enum tcp_timer timer)
{
	return tcp->deadlines_ns[timer] != STACK_NEVER;
}

void timer_stop_all(struct stack *stack, struct tcp *tcp)
{
	for (int timer = 0; timer < TCP_TIMERS; timer++)
		timer_stop(tcp, timer);
	set_wheel(stack, endpoint_index(stack, tcp), WHEEL_NEVER);
}

static void end_expired(struct stack *stack, struct tcp *tcp)
{
	if (tcp->state == STATE_TIME_WAIT || tcp->state == STATE_FIN_WAIT_2)
		tcp_end(stack, tcp, 0);
}

static void expire(struct stack *stack, struct tcp *tcp, enum tcp_timer timer)
{
	static void (*const handlers[TCP_TIMERS])(struct stack *, struct tcp *) = {
		[TIMER_RETRANSMIT] = retransmit_expired,
		[TIMER_PERSIST] = persist_expired,
		[TIMER_DELAYED_ACK] = delay_expired,
		[TIMER_KEEPALIVE] = idle_keepalive_expired,
		[TIMER_END] = end_expired,
	};

	if (tcp->deadlines_ns[timer] > stack->now_ns)
		return;
	timer_stop(tcp, timer);
	handlers[timer](stack, tcp);
}

static uint64_t earliest(const struct tcp *tcp)
{
	uint64_t deadline_ns = STACK_NEVER;

	for (int timer = 0; timer < TCP_TIMERS; timer++)
		if (tcp->deadlines_ns[timer] < deadline_ns)
			deadline_ns = tcp->deadlines_ns[timer];
	return deadline_ns;
}

/* The wheel has given the connection out. */
void tcp_run_timers(struct stack *stack, uint32_t index)
{
	struct tcp *tcp = tcp_at(stack, index);

	stack->busy_with = index;
	for (int timer = 0; timer < TCP_TIMERS && tcp->state != STATE_CLOSED; timer++)
		expire(stack, tcp, timer);
	output_all(stack, tcp);
	if (tcp->state != STATE_CLOSED)
		set_wheel(stack, index, tick_of(earliest(tcp)));
	stack->busy_with = 0;
}
