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

/* At most `left`, over as many pieces as that are. */
static inline void cursor_advance_over(struct cursor *cursor, size_t bytes)
{
	while (bytes) {
		size_t piece_bytes;

		cursor_piece(cursor, &piece_bytes);
		if (piece_bytes > bytes)
			piece_bytes = bytes;
		cursor_advance(cursor, piece_bytes);
		bytes -= piece_bytes;
	}
}

/* The next `most` bytes, or all that are left, as one message of the kernel's. At most `room` pieces; how many. */
static inline size_t cursor_pieces(struct cursor *cursor, size_t most, struct iovec *pieces, size_t room)
{
	size_t bytes, count = 0, left = cursor->left < most ? cursor->left : most;
	uint8_t *first = cursor_piece(cursor, &bytes);

	for (size_t i = 0; i < cursor->count && count < room && left; i++) {
		struct iovec piece = i ? cursor->pieces[i] : (struct iovec){first, bytes};

		if (piece.iov_len > left)
			piece.iov_len = left;
		left -= piece.iov_len;
		pieces[count++] = piece;
	}
	return count;
}

#endif
