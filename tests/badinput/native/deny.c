/* Starts a program for which chosen system calls fail: `deny CALL=ERRNO[,FIRST_ARGUMENT] … -- PROGRAM ARGUMENTS`.
 *
 * By a seccomp filter, so that it holds for whatever way the call is made: a machine without memory or descriptors. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *name;
	int number;
} calls[] = {
	{"memfd_create", SYS_memfd_create},
	{"eventfd2", SYS_eventfd2},
	{"fallocate", SYS_fallocate},
	{"ftruncate", SYS_ftruncate},
	{"socket", SYS_socket},
	{"pidfd_getfd", SYS_pidfd_getfd},
	{"pidfd_open", SYS_pidfd_open},
	{"membarrier", SYS_membarrier},
	{"getrandom", SYS_getrandom},
	{"sendmsg", SYS_sendmsg},
	{"recvmsg", SYS_recvmsg},
	{"ppoll", SYS_ppoll},
	{"openat", SYS_openat},
	{"bind", SYS_bind},
	{"process_vm_readv", SYS_process_vm_readv},
	{"lseek", SYS_lseek},
};

static struct sock_filter program[256];
static unsigned short length;

static void emit(uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	program[length++] = (struct sock_filter){code, yes, no, k};
}

static void emit_denial(int number, int error, long argument)
{
	emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	emit(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, argument >= 0 ? 3 : 1);
	if (argument >= 0) {
		emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]), 0, 0);
		emit(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)argument, 0, 1);
	}
	emit(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error, 0, 0);
}

static void parse_denial(const char *text)
{
	const char *equals = strchr(text, '='), *comma = strchr(text, ',');

	for (size_t index = 0; equals && index < sizeof(calls) / sizeof(calls[0]); index++) {
		size_t bytes = strlen(calls[index].name);
		if (bytes == (size_t)(equals - text) && memcmp(text, calls[index].name, bytes) == 0) {
			emit_denial(calls[index].number, atoi(equals + 1), comma ? atol(comma + 1) : -1);
			return;
		}
	}
	fprintf(stderr, "deny: %s?\n", text);
	exit(2);
}

int main(int argc, char **argv)
{
	struct sock_fprog filter;
	int index = 1;

	for (; index < argc && strcmp(argv[index], "--") != 0; index++)
		parse_denial(argv[index]);
	emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
	filter = (struct sock_fprog){length, program};
	if (index + 1 >= argc || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("deny");
		return 2;
	}
	execvp(argv[index + 1], argv + index + 1);
	perror(argv[index + 1]);
	return 127;
}
