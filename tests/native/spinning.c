/* csrc/wait/spin.c by itself. Each word of the command line is one wait of a thread: `+` its spin is won, a number: it is lost, or
 * left out, and a sleep of so many microseconds follows. Prints for each whether it spun: 1, or 0. */
#include "wait/spin.c"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t clock_ticks_per_us = 1000;
struct options options = {.spin_us = 50, .spin_adaptive = 1};
struct shm_arena *arena;

int main(int count, char **words)
{
	for (int i = 1; i < count; i++) {
		int won = !strcmp(words[i], "+");
		struct spin spin;

		spin_begin(&spin);
		putchar(spin.budget ? '1' : '0');
		if (won)
			spin_won(&spin);
		else
			spin_lost(&spin);
		if (!won || !spin.budget)
			spin_slept(clock_ticks_of_us(won ? 1 : strtoull(words[i], NULL, 10)));
	}
	putchar('\n');
	return 0;
}
