/* The one way that packets come and go, whatever they come by. */
#include "vi/vi.h"

#include "engine/holding.h"
#include "ip/ip.h"
#include "tcp/rules.h"

static uint32_t receive(struct vi *vi, struct stack *stack)
{
	uint32_t count;

	vi->kind->take(vi, stack);
	count = stack_hand_count(stack);
	holding_receive(stack, vi->interface);
	return count;
}

static void repair(struct vi *vi, const struct stack *stack)
{
	if (likely(vi->repairs == stack->counters[STACK_repairs]))
		return;
	vi->repairs = stack->counters[STACK_repairs];
	vi->kind->repair(vi);
}

static uint32_t transmit(struct vi *vi, struct stack *stack)
{
	uint32_t count = 0;

	repair(vi, stack);
	if (vi->kind->before_put)
		vi->kind->before_put(vi, stack);
	for (; stack->output.first != CELL_NONE && vi->kind->has_room(vi); count++)
		vi->kind->put(vi, stack, ip_next_packet(stack));
	return count;
}

static void kick(struct vi *vi)
{
	if (unlikely(vi->must_kick))
		vi->kind->kick(vi);
}

/* Without the lock: what is missed now is seen the next time. */
static int has_work(const struct vi *vi, const struct stack *stack, uint64_t now_ns)
{
	return vi->kind->has_packet(vi) || load_relaxed(&stack->output.first) != CELL_NONE ||
	       holding_timers_are_due(stack, now_ns);
}

/* There may be more to send when the lock is let go: what others have left meanwhile. */
static int has_output(const struct vi *vi, const struct stack *stack)
{
	return unlikely(load_relaxed(&stack->output.first) != CELL_NONE) && vi->kind->has_room(vi);
}

static uint32_t poll_once(struct vi *vi, struct stack *stack, uint64_t now_ns)
{
	uint32_t count;

	holding_begin(stack, now_ns);
	count = receive(vi, stack);
	if (holding_timers_are_due(stack, stack->now_ns))
		holding_run_due(stack);
	count += transmit(vi, stack);
	holding_end(stack);
	kick(vi);
	return count;
}

uint32_t byway_vi_poll(struct vi *vi, struct stack *stack, uint64_t now_ns)
{
	uint32_t count = 0;

	if (!has_work(vi, stack, now_ns))
		return 0;
	do
		count += poll_once(vi, stack, now_ns);
	while (has_output(vi, stack));
	return count;
}

int64_t byway_vi_send(struct vi *vi, struct stack *stack, uint32_t socket, const uint8_t *from, uint32_t bytes,
                      int flags, uint64_t now_ns)
{
	int has_work;
	int64_t result = holding_write_later(stack, socket, from, bytes, flags, now_ns, &has_work);

	if (!has_work)
		return result;
	if (likely(holding_try(stack, now_ns))) {
		tcp_serve(stack, socket);
		transmit(vi, stack);
		holding_end(stack);
		kick(vi);
	} else {
		holding_leave_work(stack, socket, now_ns);
	}
	if (has_output(vi, stack))
		byway_vi_poll(vi, stack, now_ns);
	return result;
}
