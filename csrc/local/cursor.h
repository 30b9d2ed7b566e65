/* A place in a program's buffers: an iovec array that has been copied in, walked piece by piece. */
#ifndef BYWAY_LOCAL_CURSOR_H
#define BYWAY_LOCAL_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct cursor {
	const struct iovec *pieces;
	size_t count;   /* pieces from `pieces` on */
	size_t offset;  /* bytes done of the first piece */
	size_t left;    /* bytes of all that are not done */
	int discard;    /* MSG_TRUNC: bytes are thrown away, the buffers are not touched */
};

/* The next contiguous piece; *bytes is 0 at the end. */
static inline uint8_t *cursor_piece(struct cursor *cursor, size_t *bytes)
{
	while (cursor->count && cursor->offset == cursor->pieces->iov_len) {
		cursor->pieces++;
		cursor->count--;
		cursor->offset = 0;
	}
	if (!cursor->count || !cursor->left) {
		*bytes = 0;
		return NULL;
	}
	*bytes = cursor->pieces->iov_len - cursor->offset;
	if (*bytes > cursor->left)
		*bytes = cursor->left;
	return (uint8_t *)cursor->pieces->iov_base + cursor->offset;
}

/* At most what cursor_piece gave. */
static inline void cursor_advance(struct cursor *cursor, size_t bytes)
{
	cursor->offset += bytes;
	cursor->left -= bytes;
}

#endif
