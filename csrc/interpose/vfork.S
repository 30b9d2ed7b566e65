/* vfork: the child runs on its parent's memory, tables and all, until it execs or exits. The flag thread.vforked says so:
 * it is set in the child and cleared in the parent, which run one after the other on the same thread's storage.
 * The return address is kept in a register, since the child returns over it first. */
#include <sys/syscall.h>
#define VFORKED_OFFSET 16 /* struct thread_state.vforked; asserted in process.c */
	.text
	.globl vfork
	.type vfork, @function
	.globl __vfork
	.type __vfork, @function
	.p2align 4
vfork:
__vfork:
	popq %rdi
	movl $SYS_vfork, %eax
	syscall
	pushq %rdi
	movq thread@gottpoff(%rip), %rcx
	xorl %edx, %edx
	testq %rax, %rax
	jnz 1f
	incl %edx
1:	movl %edx, %fs:VFORKED_OFFSET(%rcx)
	cmpq $-4095, %rax
	jae 2f
	ret
2:	negl %eax
	movq errno@gottpoff(%rip), %rcx
	movl %eax, %fs:(%rcx)
	movq $-1, %rax
	ret
	.size vfork, .-vfork
	.section .note.GNU-stack,"",@progbits
