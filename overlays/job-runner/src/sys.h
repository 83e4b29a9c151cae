/*
 * What the guest's programs need instead of a C library.
 *
 * A guest may hold no C library of its own (or another architecture's), and one that is
 * linked in would be larger than all the rest of the initial RAM disk.
 */
#ifndef HPCVM_SYS_H
#define HPCVM_SYS_H

#include "calls.h"

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
