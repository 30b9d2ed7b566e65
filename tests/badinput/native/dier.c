/* A client that talks to a peer until its connection is attached, may write nonsense into the pair, and dies.
 * `dier HOST PORT [SEED]`. */
#define _GNU_SOURCE
#include "wire.h"

#include <signal.h>

#include "scribble.h"

int main(int argc, char **argv)
{
	char answer[1000];
	int descriptor;

	if (argc < 3)
		return 2;
	descriptor = wire_fresh(argv[1], argv[2]);
	wire_ask(descriptor, WIRE_SEND, sizeof(answer), 0);
	wire_receive_all(descriptor, answer, sizeof(answer));
	wire_ask(descriptor, WIRE_SEND, 100000, 0);
	if (argc > 3)
		printf("scribble: %s\n", scribble(strtoull(argv[3], NULL, 0)) ? "done" : "nothing");
	fflush(stdout);
	raise(SIGKILL);
}
