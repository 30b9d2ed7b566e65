/* real_find_keeping(name = rax): the address in rax, every other register as it was. So a fast path that ends in a jump to
 * libc's function need not save its arguments for the one time that the function has to be found. Called with the red
 * zone already passed over, at any alignment of the stack. */
#define VECTORS_BYTES 128 /* xmm0 to xmm7 may hold arguments of a variadic function */
	.text
	.globl real_find_keeping
	.hidden real_find_keeping
	.type real_find_keeping, @function
	.p2align 4
real_find_keeping:
	.cfi_startproc
	pushq %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq %rsp, %rbp
	.cfi_def_cfa_register rbp
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	subq $VECTORS_BYTES, %rsp
	movups %xmm0, (%rsp)
	movups %xmm1, 16(%rsp)
	movups %xmm2, 32(%rsp)
	movups %xmm3, 48(%rsp)
	movups %xmm4, 64(%rsp)
	movups %xmm5, 80(%rsp)
	movups %xmm6, 96(%rsp)
	movups %xmm7, 112(%rsp)
	andq $-16, %rsp
	movq %rax, %rdi
	call real_find
	leaq -64-VECTORS_BYTES(%rbp), %rsp
	movups (%rsp), %xmm0
	movups 16(%rsp), %xmm1
	movups 32(%rsp), %xmm2
	movups 48(%rsp), %xmm3
	movups 64(%rsp), %xmm4
	movups 80(%rsp), %xmm5
	movups 96(%rsp), %xmm6
	movups 112(%rsp), %xmm7
	addq $VECTORS_BYTES, %rsp
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rbp
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size real_find_keeping, .-real_find_keeping
	.section .note.GNU-stack,"",@progbits
