/* What an exec will bring: a program that has this library, or another one. Decides by the same facts as the kernel and
 * the dynamic loader, and in every doubt for "another one". Any thread; nothing is allocated. */
#ifndef BYWAY_INTERPOSE_IMAGE_H
#define BYWAY_INTERPOSE_IMAGE_H

enum image {
	IMAGE_FOREIGN = 0,
	IMAGE_OURS = 1
};

/* Once, when the library is loaded: which files it and its loader are. */
void image_start(void);

/* The file that execveat(2) with these arguments would run. An enum image; or a negative errno where there is no such
 * file, or one that may not be run: then exec fails with it. */
int image_examine(int folder, const char *path, int flags, char *const environment[]);

/* The same for execvp(3): searched for as libc does it. `path` (PATH_MAX bytes): the one that is found. */
int image_search(const char *file, char *const environment[], char *path);
/* Whether libc's search goes on after this error. */
int image_search_goes_on(int error);

#endif
