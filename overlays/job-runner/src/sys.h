/*
 * The few system calls the guest's programs need, without a C library.
 *
 * A guest may hold no C library of its own (or another architecture's), and one that is
 * linked in would be larger than all the rest of the initial RAM disk. Every call returns
 * the kernel's value: a negative errno on failure (man 2 syscalls).
 */
#ifndef HPCVM_SYS_H
#define HPCVM_SYS_H

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__i386__)
static inline long sys6(long n, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}
/* vfork(2), always in its caller: the child goes on with the stack that its parent comes back to. */
static inline __attribute__((always_inline)) long fork_in_place(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(__NR_vfork) : "memory");
    return result;
}
#define NR_CHOWN __NR_chown32
#define NR_FCHOWN __NR_fchown32
#define NR_SETUID __NR_setuid32
#define NR_SETGID __NR_setgid32
#define NR_SETGROUPS __NR_setgroups32
#define NR_CLOCK_SETTIME __NR_clock_settime64
#define NR_CLOCK_GETTIME __NR_clock_gettime64
#elif defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}
static inline __attribute__((always_inline)) long fork_in_place(void)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(__NR_vfork) : "rcx", "r11", "memory");
    return result;
}
#define NR_CHOWN __NR_chown
#define NR_FCHOWN __NR_fchown
#define NR_SETUID __NR_setuid
#define NR_SETGID __NR_setgid
#define NR_SETGROUPS __NR_setgroups
#define NR_CLOCK_SETTIME __NR_clock_settime
#define NR_CLOCK_GETTIME __NR_clock_gettime
#else
#error "guests are i386 or amd64"
#endif

#define SYS_PICK(_0, _1, _2, _3, _4, _5, name, ...) name
#define sys(...) SYS_PICK(__VA_ARGS__, sys_5, sys_4, sys_3, sys_2, sys_1, sys_0)(__VA_ARGS__)
#define sys_0(n) sys6(n, 0, 0, 0, 0, 0)
#define sys_1(n, a) sys6(n, (long)(a), 0, 0, 0, 0)
#define sys_2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0)
#define sys_3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0)
#define sys_4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0)
#define sys_5(n, a, b, c, d, e) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* errno values (asm-generic/errno-base.h) */
#define ENOENT 2
#define EINTR 4
#define EAGAIN 11
#define EEXIST 17

/* open(2) */
#define O_RDONLY 00
#define O_WRONLY 01
#define O_RDWR 02
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define O_DIRECT 040000
#define O_DIRECTORY 0200000
#define O_NOFOLLOW 0400000
#define O_CLOEXEC 02000000

/* mount(2) */
#define MS_RDONLY 1
#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#define MS_BIND 4096
#define MS_MOVE 8192
#define MNT_DETACH 2

/* poll(2) */
#define POLLIN 1
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 16
struct pollfd { int fd; short events, revents; };

/* signal(7) */
#define SIGKILL 9
#define SIGTERM 15
#define SIGPIPE 13
#define SIGCHLD 17
#define SIGCONT 18

#define WNOHANG 1
#define F_SETFL 4
#define F_SETPIPE_SZ 1031
#define SEEK_SET 0
#define SEEK_END 2

/* reboot(2) */
#define REBOOT_POWER_OFF 0x4321fedcL

struct timespec64 { int64_t seconds, nanoseconds; };

struct directory_entry {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t kind;
    char name[];
};

/* gcc may turn loops and assignments into calls of these two. */
void *memcpy(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;
    while (n--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    char *t = to;
    while (n--)
        *t++ = (char)byte;
    return to;
}

static size_t length_of(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static int starts_with(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return 0;
    return 1;
}

static int same_bytes(const void *a, const void *b, size_t n)
{
    const char *x = a, *y = b;
    while (n--)
        if (*x++ != *y++)
            return 0;
    return 1;
}

/* A growing line of text in a fixed buffer; what does not fit is cut. */
struct text {
    char bytes[1024];
    size_t length;
};

static void put(struct text *t, const char *s)
{
    while (*s && t->length < sizeof t->bytes - 1)
        t->bytes[t->length++] = *s++;
    t->bytes[t->length] = 0;
}

static void put_number(struct text *t, uint64_t n)
{
    char digits[21];
    int at = 20;
    uint32_t high = (uint32_t)(n >> 32);
    digits[at] = 0;
    /* 64-bit division would need libgcc on i386: divide twice by hand. */
    uint32_t low = (uint32_t)n;
    do {
        uint32_t remainder = high % 10;
        high /= 10;
        /* remainder:low / 10 with 32-bit operations, 16 bits at a time */
        uint32_t upper = (remainder << 16) | (low >> 16);
        uint32_t middle = ((upper % 10) << 16) | (low & 0xffff);
        low = (upper / 10 << 16) | (middle / 10);
        digits[--at] = (char)('0' + middle % 10);
    } while ((high || low) && at > 0);
    put(t, digits + at);
}

static void say(const struct text *t)
{
    sys(__NR_write, 2, t->bytes, t->length);
}

static uint64_t uptime_ns(void)
{
    struct timespec64 now = {0, 0};
    sys(NR_CLOCK_GETTIME, 7 /* CLOCK_BOOTTIME */, &now);
    return (uint64_t)now.seconds * 1000000000ULL + (uint64_t)now.nanoseconds;
}

static void sleep_ms(int ms)
{
    sys(__NR_poll, 0, 0, ms);
}

/* Makes PATH and its missing parents, mode 0755. */
static void make_folders(const char *path)
{
    char part[4096];
    size_t n = 0;
    for (const char *p = path; *p && n < sizeof part - 1; p++) {
        if (*p == '/' && n) {
            part[n] = 0;
            sys(__NR_mkdir, part, 0755);
        }
        part[n++] = *p;
    }
    part[n] = 0;
    sys(__NR_mkdir, part, 0755);
}

/* Reads an open file from where it is; returns the length, and ends it with NUL. */
static long read_all(long fd, char *buffer, size_t size)
{
    size_t n = 0;
    while (n < size - 1) {
        long got = sys(__NR_read, fd, buffer + n, size - 1 - n);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    buffer[n] = 0;
    return (long)n;
}

/* Reads a small file whole; returns its length or a negative errno, and ends it with NUL. */
static long read_file(const char *path, char *buffer, size_t size)
{
    long fd = sys(__NR_open, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long length = read_all(fd, buffer, size);
    sys(__NR_close, fd);
    return length;
}

static long write_all(long fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n) {
        long put = sys(__NR_write, fd, p, n);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put ? put : -5;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

/* Calls TAKE with the name of each entry of a folder, until it returns non-zero. */
static long each_entry(const char *folder, long (*take)(const char *name, void *context), void *context)
{
    char buffer[4096] __attribute__((aligned(8)));
    long fd = sys(__NR_open, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    long result = 0, got;
    if (fd < 0)
        return 0;
    while (!result && (got = sys(__NR_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; !result && at < got;) {
            struct directory_entry *entry = (void *)(buffer + at);
            if (entry->name[0] != '.')
                result = take(entry->name, context);
            at += entry->length;
        }
    sys(__NR_close, fd);
    return result;
}

/* The entry point: hands the stack that the kernel laid out to start(). */
__attribute__((noreturn, used)) static void start(long *stack);
#if defined(__i386__)
__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call start\n");
#else
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#endif

#endif
