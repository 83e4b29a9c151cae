# The boot sector of the test guest, and its calls into the BIOS.
#
# The guest is real mode code of 32-bit instructions in the first 64 KiB: the stack ends where the boot sector
# begins, the program follows it (guest.ld). guest.c is that program.

	.code16
	.section .boot, "ax"
	.globl	start
start:
	ljmp	$0, $1f
1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0x7c00, %esp
	sti
	cld
	movw	$packet, %si		# the drive that was booted is in %dl
	movb	$0x42, %ah
	int	$0x13
	jc	1f
	calll	guest
1:	hlt
	jmp	1b

packet:	.byte	16, 0
	.word	program_sectors
	.word	0x7e00, 0
	.quad	1

	.org	510
	.word	0xaa55

	.text
# int bios_disk(u32 ax, u32 dx, struct packet *packet): int 13h with the packet; 0 when it was done
	.globl	bios_disk
bios_disk:
	pushal
	movl	36(%esp), %eax
	movl	40(%esp), %edx
	movl	44(%esp), %esi
	int	$0x13
	sbbl	%eax, %eax
	movl	%eax, 28(%esp)		# the place of %eax in what popal restores
	cld
	popal
	retl
