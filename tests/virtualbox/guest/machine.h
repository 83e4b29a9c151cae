/* What the PC and its BIOS give: ports, the clock, disks, the power switch; and what C needs. */

extern char bss_start[], bss_end[];

static inline u8 in8(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

/* The BIOS counts 65536 periods of a 1193182 Hz clock as one tick, 18.2 a second. */
#define NANOSECONDS_OF_A_TICK 54925417u
#define SECOND 18u
#define MINUTE 1092u

static u32 ticks(void)
{
	/* A pointer to a number so small is null to the compiler's eyes. */
	u32 place = 0x46c;
	__asm__("" : "+r"(place));
	return *(volatile u32 *)place;
}

/*
 * A 16550 without interrupts: 115200 baud, 8 data bits. Turning the FIFOs on empties them, which loses what has
 * come in: they stay off where somebody may have sent something already.
 */
static void open_port(u16 port, int fifos)
{
	out8(port + 1, 0);
	out8(port + 3, 0x80);
	out8(port, 1);
	out8(port + 1, 0);
	out8(port + 3, 3);
	if (fifos)
		out8(port + 2, 7);
	out8(port + 4, 3);
}

static void power_off(void)
{
	out16(0x4004, 0x3400); /* VirtualBox: sleep type 5 */
	out16(0x604, 0x2000);  /* QEMU */
	for (;;)
		__asm__ volatile("cli; hlt");
}

struct packet {
	u8 size, zero;
	u16 sectors, offset, segment;
	u64 first;
} __attribute__((packed));

int bios_disk(u32 ax, u32 dx, struct packet *packet);

#define READ 0x4200
#define WRITE 0x4300
#define SECTORS 8

static u8 sector_buffer[512 * SECTORS];

/* Moves sectors between a drive and a buffer; 0 when it was done. */
static int transfer_of(u8 *buffer, u32 what, int drive, u32 first, u16 sectors)
{
	struct packet packet = {sizeof packet, 0, sectors, (u16)(u32)buffer, 0, first};
	return bios_disk(what, drive, &packet);
}

static int transfer(u32 what, int drive, u32 first, u16 sectors)
{
	return transfer_of(sector_buffer, what, drive, first, sectors);
}

static int starts(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return 0;
	return 1;
}

static int equal(const char *one, const char *two)
{
	while (*one && *one == *two)
		one++, two++;
	return *one == *two;
}

static u32 length_of(const char *text)
{
	u32 length = 0;
	while (text[length])
		length++;
	return length;
}

static int parse(const char *text)
{
	int number = 0;
	while (*text >= '0' && *text <= '9')
		number = number * 10 + *text++ - '0';
	return number;
}

/* `number` in decimal, within `text`. */
static char *decimal(u64 number, char text[24])
{
	char *digit = text + 23;
	*digit = 0;
	do {
		u32 high = number >> 32, low = number, rest;
		u32 high_quotient = high / 10;
		__asm__("divl %3" : "=a"(low), "=d"(rest) : "0"(low), "r"(10u), "1"(high % 10));
		*--digit = '0' + rest;
		number = (u64)high_quotient << 32 | low;
	} while (number);
	return digit;
}

/* The compiler calls these. */
void *memcpy(void *to, const void *from, u32 length)
{
	for (u32 i = 0; i < length; i++)
		((volatile u8 *)to)[i] = ((const u8 *)from)[i];
	return to;
}

void *memset(void *to, int value, u32 length)
{
	for (u32 i = 0; i < length; i++)
		((volatile u8 *)to)[i] = value;
	return to;
}

/* The first drive whose first sector, then in sector_buffer, begins with these eight bytes; -1 without one. */
static int find_drive(const char *magic)
{
	for (int drive = 0x80; drive < 0x88; drive++)
		if (!transfer(READ, drive, 0, 1) && starts((char *)sector_buffer, magic))
			return drive;
	return -1;
}
