/* The policy: a streak of lost spins makes the next ones rarer: of the sleeps that a spin might have spared, the 4th, 8th, ... is
 * tried again. A sleep that lasted longer says nothing for spinning, so who waits for timers does not spin. */
#include "wait/spin.h"

#include "base/clock.h"
#include "base/options.h"
#include "shm/arena.h"

#define LOST_BEFORE_RARE 3
#define TRIAL_EVERY_MAX 64
#define DESCHEDULED_US 200
#define WAKE_UP_US 100 /* about the most that a sleep takes beyond what it waits for, on a machine that is not busy */
#define TURNS_BETWEEN_LOOKS 8

static __thread uint32_t lost_streak;
static __thread uint32_t skipped; /* short sleeps since the last spin */
static __thread uint8_t left_out; /* the wait that goes on did not spin */

/* How many spins are left out before the next trial. */
static uint32_t spins_left_out(void)
{
	if (!options.spin_adaptive || lost_streak < LOST_BEFORE_RARE)
		return 0;
	return (lost_streak >= 16 ? TRIAL_EVERY_MAX : 4u << (lost_streak - LOST_BEFORE_RARE) / 3) - 1;
}

int spin_is_due(void)
{
	return options.spin_us && skipped >= spins_left_out();
}

void spin_begin(struct spin *spin)
{
	spin->start = spin->last = spin->asked = cpu_ticks();
	spin->budget = spin_is_due() ? clock_ticks_of_us((uint64_t)options.spin_us) : 0;
	spin->round = 0;
	left_out = spin->budget == 0;
	if (!left_out)
		skipped = 0;
}

void spin_slept(uint64_t ticks)
{
	if (left_out && ticks < clock_ticks_of_us((uint64_t)options.spin_us + WAKE_UP_US))
		skipped++;
	left_out = 0;
}

int spin_turn(struct spin *spin)
{
	uint64_t now;

	if (!spin->budget)
		return 0;
	cpu_pause();
	if (++spin->round % TURNS_BETWEEN_LOOKS)
		return 1;
	now = cpu_ticks();
	if (options.spin_adaptive && now - spin->last > clock_ticks_of_us(DESCHEDULED_US))
		lost_streak++;
	spin->last = now;
	return now - spin->start < spin->budget;
}

int spin_should_ask(struct spin *spin, uint64_t every_us)
{
	if (spin->last - spin->asked < clock_ticks_of_us(every_us))
		return 0;
	spin->asked = spin->last;
	return 1;
}

void spin_won(struct spin *spin)
{
	if (!spin->budget)
		return;
	lost_streak = 0;
	count(counter_spins_won, 1);
}

void spin_lost(struct spin *spin)
{
	if (!spin->budget)
		return;
	lost_streak++;
	count(counter_spins_lost, 1);
}
