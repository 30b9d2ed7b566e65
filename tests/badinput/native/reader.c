/* Reads descriptor 5 to its end, or so many bytes: `reader [BYTES]`. Says how many there were and what came then. Also
 * compiled static. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char buffer[65536];
	long total = 0, most = argc > 1 ? atol(argv[1]) : 1L << 40, got = 1;

	while (total < most && (got = read(5, buffer, sizeof(buffer))) > 0)
		total += got;
	printf("%ld bytes, %s\n", total, got > 0 ? "more" : got ? "error" : "end");
	return 0;
}
