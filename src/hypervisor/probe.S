# The accelerator probe's guest: a ROM without a BIOS, started at the reset vector.
#
# It does what a kernel does in its first milliseconds (protected mode, paging, memory touched for
# the first time, locked compare-and-exchange, and long mode where the processor has it) and then
# some arithmetic. It ends the machine through isa-debug-exit: 42 when all was right, 43 when a
# result was wrong. An accelerator that cannot do this in time cannot run a kernel either.
#
#   as --32 -o probe.o probe.S
#   ld -m elf_i386 -Ttext=0xf0000 --oformat binary -e start -o probe.rom probe.o
#
# The last 64 KiB below 1 MiB hold the ROM; RAM from 64 KiB on holds page tables.

	.set	TABLES, 0x10000		# 32-bit page directory, later the 64-bit tables
	.set	TOUCHED, 0x100000	# first byte of the memory that is touched
	.set	TOUCHED_END, 0x900000	# 8 MiB of it
	.set	ROUNDS, 8000000		# multiplications, about 20 ms under emulation

	.code16
	.globl	start
start:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	gdt_pointer - start
	movl	%cr0, %eax
	orl	$1, %eax		# protection
	movl	%eax, %cr0
	ljmpl	$8, $protected

	.code32
protected:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss

	movl	$TABLES, %edi		# identity map of 4 GiB in 4 MiB pages
	movl	$0x83, %eax
1:	movl	%eax, (%edi)
	addl	$4, %edi
	addl	$0x400000, %eax
	jnc	1b
	movl	$0x10, %eax		# page size extension
	movl	%eax, %cr4
	movl	$TABLES, %eax
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax	# paging
	movl	%eax, %cr0
	jmp	1f

1:	movl	$TOUCHED, %edi		# every page written once
1:	movl	%edi, (%edi)
	addl	$4096, %edi
	cmpl	$TOUCHED_END, %edi
	jb	1b

	movl	$TOUCHED, %edi
	movl	%edi, %eax
	xorl	%edx, %edx
	movl	$1, %ebx
	movl	$2, %ecx
	lock cmpxchg8b (%edi)
	jnz	wrong
	cmpl	$2, 4(%edi)
	jne	wrong

	movl	$ROUNDS, %ecx
	movl	$1, %eax
1:	imull	$1664525, %eax, %eax
	addl	$1013904223, %eax
	loop	1b
	cmpl	$0xcd496201, %eax
	jne	wrong

	movl	$0x80000000, %eax	# long mode, where there is one
	cpuid
	cmpl	$0x80000001, %eax
	jb	right
	movl	$0x80000001, %eax
	cpuid
	testl	$0x20000000, %edx
	jz	right

	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	movl	$TABLES, %edi		# three tables, cleared; then 1 GiB in 2 MiB pages
	xorl	%eax, %eax
	movl	$0x0c00, %ecx
	cld
	rep stosl
	movl	$(TABLES + 0x1003), TABLES
	movl	$(TABLES + 0x2003), TABLES + 0x1000
	movl	$(TABLES + 0x2000), %edi
	movl	$0x83, %eax
	movl	$512, %ecx
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	loop	1b
	movl	$0x20, %eax		# physical address extension
	movl	%eax, %cr4
	movl	$TABLES, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	# EFER: long mode enable
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	ljmpl	$24, $long

right:	movb	$42, %al
	jmp	1f
wrong:	movb	$43, %al
1:	outb	%al, $0xf4
1:	hlt				# the machine ends a little later
	jmp	1b

	.code64
long:	movl	$1, %eax
	cpuid
	testl	$0x2000, %ecx		# cmpxchg16b
	jz	1f
	movl	$TOUCHED, %edi
	movl	(%rdi), %eax
	movl	4(%rdi), %edx
	shlq	$32, %rdx
	orq	%rdx, %rax
	xorl	%edx, %edx		# the upper half was never written
	movl	$3, %ebx
	movl	$4, %ecx
	lock cmpxchg16b (%rdi)
	jnz	2f
	cmpq	$4, 8(%rdi)
	jne	2f
1:	movb	$42, %al
	jmp	1f
2:	movb	$43, %al
1:	outb	%al, $0xf4
1:	hlt
	jmp	1b

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff	# 32-bit code
	.quad	0x00cf92000000ffff	# data
	.quad	0x00af9a000000ffff	# 64-bit code
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	gdt
code_end:

	.code16
	.org	0xfff0
	ljmp	$0xf000, $0
	.org	0x10000
