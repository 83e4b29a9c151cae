/* Starts a Linux kernel whose segments were packed by hpcvm (src/guest/wrap.rs).
 *
 * Entered by the 32-bit boot protocol (Documentation/arch/x86/boot.rst) at 0x100000: protected
 * mode, flat segments, paging and interrupts off, %esi -> boot_params. Puts the segments of
 * vmlinux where they were linked to run and enters the kernel as its own decompressor would:
 * a 32-bit one at startup_32, a 64-bit one at startup_64 in long mode with the first 4 GiB
 * mapped one to one. */

#include "lz4.h"

typedef unsigned u32;
typedef unsigned char u8;

/* What to do: filled in by wrap.rs, which knows the layout. */
struct plan {
	char magic[8];
	u32 entry;       /* physical address to start the kernel at */
	u32 long_mode;   /* whether that is 64-bit code */
	u32 page_tables; /* where six free pages are, if it is */
	u32 stack;       /* the end of a free page. Not one with code: emulators retranslate that */
	u32 payload;     /* where the loader put the payload: the table of chunks, then their bytes */
	u32 length;      /* bytes of it */
	u32 moved;       /* where it must stand while the segments are filled */
	u32 chunks;      /* entries of the table */
};

enum { ZERO, COPY, LZ4 };

struct chunk {
	u32 kind;
	u32 to;     /* physical address */
	u32 length; /* bytes there */
	u32 stored; /* bytes in the payload */
};

extern const struct plan plan;
void unpack(void *boot_params) __attribute__((noreturn));

/* The plan stands 16 bytes into the image. 64-bit code needs a 64-bit code segment. */
asm(".section .start, \"ax\"\n"
    "	cli\n"
    "	cld\n"
    "	movl	plan_stack, %esp\n"
    "	pushl	%esi\n"
    "	jmp	begin\n"
    "	.balign	16\n"
    ".globl plan\n"
    "plan:	.ascii	\"HPCVMKRN\"\n"
    "	.fill	3, 4, 0\n"
    "plan_stack: .fill 5, 4, 0\n"
    "	.balign	16\n"
    "gdt:	.quad	0\n"
    "	.quad	0x00af9a000000ffff\n" /* 0x08: 64-bit code */
    "	.quad	0x00cf92000000ffff\n" /* 0x10: data */
    "gdt_pointer: .word . - gdt - 1\n"
    "	.long	gdt\n"
    "begin:	call	unpack\n"
    "\n"
    ".globl	start_64\n"
    /* void start_64(void *boot_params, u32 entry, u32 page_tables) */
    "start_64:\n"
    "	movl	4(%esp), %esi\n"
    "	movl	8(%esp), %edi\n"
    "	movl	12(%esp), %eax\n"
    "	movl	%eax, %cr3\n"
    "	lgdt	gdt_pointer\n"
    "	movl	$0x20, %eax\n" /* CR4.PAE */
    "	movl	%eax, %cr4\n"
    "	movl	$0xc0000080, %ecx\n" /* EFER.LME */
    "	rdmsr\n"
    "	btsl	$8, %eax\n"
    "	wrmsr\n"
    "	movl	%cr0, %eax\n"
    "	orl	$0x80000001, %eax\n" /* CR0.PG, CR0.PE */
    "	movl	%eax, %cr0\n"
    "	ljmp	$8, $1f\n"
    "	.code64\n"
    "1:	movl	$0x10, %eax\n"
    "	movl	%eax, %ds\n"
    "	movl	%eax, %es\n"
    "	movl	%eax, %ss\n"
    "	movl	%esi, %esi\n" /* the upper halves are undefined after the switch */
    "	movl	%edi, %eax\n"
    "	xorl	%edi, %edi\n"
    "	xorl	%ebx, %ebx\n"
    "	xorl	%ebp, %ebp\n"
    "	jmp	*%rax\n"
    "	.code32\n"
    "	.text\n");

void start_64(void *boot_params, u32 entry, u32 page_tables) __attribute__((noreturn));

static void copy(u32 to, u32 from, u32 length)
{
	u32 words = length / 4;
	asm volatile("rep movsl\n\tmovl %3, %%ecx\n\trep movsb"
		     : "+&D"(to), "+&S"(from), "+&c"(words)
		     : "r"(length % 4)
		     : "memory");
}

static void zero(u32 to, u32 length)
{
	u32 words = length / 4;
	asm volatile("rep stosl\n\tmovl %3, %%ecx\n\trep stosb"
		     : "+&D"(to), "+&c"(words)
		     : "a"(0), "r"(length % 4)
		     : "memory");
}

static void out(u32 port, u8 byte)
{
	asm volatile("outb %0, %w1" : : "a"(byte), "Nd"(port));
}

/* A disk that returns other bytes than were written gets a line on the first serial port. */
static void __attribute__((noreturn)) stop(void)
{
	const char *text = "hpcvm: the packed kernel is damaged\r\n";
	while (*text)
		out(0x3f8, *text++);
	for (;;)
		asm volatile("hlt");
}

/* One PML4, one page directory pointer table, four page directories of 2 MiB pages. */
static void map_4_gib(u32 tables)
{
	u32 *word = (u32 *)tables, i;
	zero(tables, 6 * 4096);
	word[0] = (tables + 0x1000) | 3;
	for (i = 0; i < 4; i++)
		word[0x400 + 2 * i] = (tables + 0x2000 + 0x1000 * i) | 3;
	for (i = 0; i < 2048; i++)
		word[0x800 + 2 * i] = i << 21 | 0x83;
}

void unpack(void *boot_params)
{
	const struct chunk *chunk = (const struct chunk *)plan.moved;
	u32 i, from;

	if (plan.moved != plan.payload)
		copy(plan.moved, plan.payload, plan.length);
	from = (u32)(chunk + plan.chunks);
	for (i = 0; i < plan.chunks; i++, chunk++) {
		if (chunk->kind == ZERO)
			zero(chunk->to, chunk->length);
		else if (chunk->kind == COPY)
			copy(chunk->to, from, chunk->length);
		else if (!lz4_block((const u8 *)from, chunk->stored, (u8 *)chunk->to, chunk->length))
			stop();
		from += chunk->stored;
	}
	if (plan.long_mode) {
		map_4_gib(plan.page_tables);
		start_64(boot_params, plan.entry, plan.page_tables);
	}
	asm volatile("xorl %%ebx, %%ebx\n\txorl %%edi, %%edi\n\txorl %%ebp, %%ebp\n\tjmp *%%eax"
		     : : "a"(plan.entry), "S"(boot_params));
	__builtin_unreachable();
}
