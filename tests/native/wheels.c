/* csrc/stack/wheel.c by itself, with 64 nodes, told by lines on stdin: `set NODE DEADLINE` (-1: none), `take NOW` prints those that are
 * due, `next` prints what the wheel says comes next (-1: nothing), `rebuild`. */
#include <inttypes.h>
#include <stdio.h>

#include "stack/wheel.h"

#define NODES 64

static struct wheel wheel;
static struct wheel_node nodes[NODES];

static void take(uint64_t now)
{
	uint32_t index;

	while ((index = wheel_take(&wheel, nodes, now)) != WHEEL_NONE)
		printf("%u ", index);
	putchar('\n');
}

int main(void)
{
	char line[128];
	uint32_t node;
	int64_t value;

	wheel_make(&wheel, nodes, NODES, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "set %" SCNu32 " %" SCNd64, &node, &value) == 2 && node < NODES)
			wheel_set(&wheel, nodes, node, (uint64_t)value);
		else if (sscanf(line, "take %" SCNd64, &value) == 1)
			take((uint64_t)value);
		else if (line[0] == 'n')
			printf("%" PRId64 "\n", (int64_t)wheel_next(&wheel));
		else
			wheel_rebuild(&wheel, nodes, NODES);
		fflush(stdout);
	}
	return 0;
}
