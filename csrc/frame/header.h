/* Where the fields of the headers lie, in bytes from the beginning of each. */
#ifndef BYWAY_FRAME_HEADER_H
#define BYWAY_FRAME_HEADER_H

/* RFC 791, 3.1 */
enum {
	V4_VERSION_AND_WORDS = 0,
	V4_TOS = 1,
	V4_LENGTH = 2,
	V4_ID = 4,
	V4_FRAGMENT = 6,
	V4_TTL = 8,
	V4_PROTOCOL = 9,
	V4_CHECKSUM = 10,
	V4_SOURCE = 12,
	V4_DESTINATION = 16
};
#define V4_USUAL 0x45 /* version 4, five words: no options */
#define V4_DONT_FRAGMENT 0x4000
#define V4_IS_FRAGMENT 0x3fff /* more fragments, or an offset */

#define V6_VERSION 6

/* RFC 8200, 3 */
enum {
	V6_LENGTH = 4,
	V6_NEXT = 6,
	V6_HOP_LIMIT = 7,
	V6_SOURCE = 8,
	V6_DESTINATION = 24
};

/* RFC 9293, 3.1 */
enum {
	TCP_SOURCE_PORT = 0,
	TCP_DESTINATION_PORT = 2,
	TCP_SEQUENCE = 4,
	TCP_ACKNOWLEDGEMENT = 8,
	TCP_DATA_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_WINDOW = 14,
	TCP_CHECKSUM = 16,
	TCP_URGENT = 18,
	TCP_OPTIONS = 20
};

/* The only options of most segments: nothing, nothing, timestamps of ten bytes (RFC 7323, appendix A). */
#define TCP_USUAL_OPTIONS 0x0101080au
enum {
	TCP_USUAL_TIMESTAMP = 24,
	TCP_USUAL_ECHO = 28,
	TCP_USUAL_OPTIONS_BYTES = 12
};

#endif
