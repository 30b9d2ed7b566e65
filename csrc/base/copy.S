/* copy_guarded(to = rdi, from = rsi, bytes = rdx): a leaf that never touches the stack, so that the fault handler can
 * continue at copy_guarded_fault whatever instruction faulted. */
	.text
	.globl copy_guarded
	.hidden copy_guarded
	.type copy_guarded, @function
	.globl copy_guarded_begin
	.hidden copy_guarded_begin
	.globl copy_guarded_end
	.hidden copy_guarded_end
	.globl copy_guarded_fault
	.hidden copy_guarded_fault
	.p2align 6
copy_guarded:
copy_guarded_begin:
	cmpq $16, %rdx
	jb .Lunder16
	cmpq $32, %rdx
	jbe .Lupto32
	cmpq $1024, %rdx
	jae .Llarge
.Lloop:					/* 33 … 1023 bytes: 32 at a time, the rest overlapping */
	movups -16(%rsi,%rdx), %xmm2
	movups -32(%rsi,%rdx), %xmm3
	leaq (%rdi,%rdx), %r8
1:	movups (%rsi), %xmm0
	movups 16(%rsi), %xmm1
	movups %xmm0, (%rdi)
	movups %xmm1, 16(%rdi)
	addq $32, %rsi
	addq $32, %rdi
	subq $32, %rdx
	cmpq $32, %rdx
	ja 1b
	movups %xmm2, -16(%r8)
	movups %xmm3, -32(%r8)
	xorl %eax, %eax
	ret
.Lupto32:
	movups (%rsi), %xmm0
	movups -16(%rsi,%rdx), %xmm1
	movups %xmm0, (%rdi)
	movups %xmm1, -16(%rdi,%rdx)
	xorl %eax, %eax
	ret
.Lunder16:
	testb $8, %dl
	jz 1f
	movq (%rsi), %rax
	movq -8(%rsi,%rdx), %rcx
	movq %rax, (%rdi)
	movq %rcx, -8(%rdi,%rdx)
	xorl %eax, %eax
	ret
1:	testb $4, %dl
	jz 1f
	movl (%rsi), %eax
	movl -4(%rsi,%rdx), %ecx
	movl %eax, (%rdi)
	movl %ecx, -4(%rdi,%rdx)
	xorl %eax, %eax
	ret
1:	testq %rdx, %rdx
	jz 1f
	movb (%rsi), %al
	movb -1(%rsi,%rdx), %cl
	movb %al, (%rdi)
	movb %cl, -1(%rdi,%rdx)
	shrq $1, %rdx
	jz 1f
	/* two or three bytes: the middle one */
	movb 1(%rsi), %al
	movb %al, 1(%rdi)
1:	xorl %eax, %eax
	ret
.Llarge:
	movq %rdx, %rcx
	rep movsb
	xorl %eax, %eax
	ret
copy_guarded_end:
copy_guarded_fault:
	movl $-1, %eax
	ret
	.size copy_guarded, .-copy_guarded
	.section .note.GNU-stack,"",@progbits
