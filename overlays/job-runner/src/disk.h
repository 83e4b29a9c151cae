/*
 * Disks that may have become others: a guest restored from a template finds other bytes on the
 * same devices, and must not believe what it remembers of them.
 */
#ifndef HPCVM_DISK_H
#define HPCVM_DISK_H

#include "job.h"
#include "sys.h"

#define BLKFLSBUF 0x1261 /* linux/fs.h: forget what is cached of a block device */

/* What is read past the page cache is a multiple of this long and at such an address. */
#define BLOCK 4096u

static int restored;

static long read_at(long fd, void *bytes, size_t n, uint64_t at)
{
#if defined(__i386__)
    return sys(__NR_pread64, fd, bytes, n, (uint32_t)at, (uint32_t)(at >> 32));
#else
    return sys(__NR_pread64, fd, bytes, n, at);
#endif
}

static long write_at(long fd, const void *bytes, size_t n, uint64_t at)
{
#if defined(__i386__)
    return sys(__NR_pwrite64, fd, bytes, n, (uint32_t)at, (uint32_t)(at >> 32));
#else
    return sys(__NR_pwrite64, fd, bytes, n, at);
#endif
}

/* Reads whole blocks at the disk's start as the device has them now, whatever the page cache remembers. */
static long read_direct(long disk, void *blocks, size_t n)
{
    sys(__NR_fcntl, disk, F_SETFL, O_DIRECT);
    long got = read_at(disk, blocks, n, 0);
    sys(__NR_fcntl, disk, F_SETFL, 0);
    return got;
}

/* Whether the job disk tells to wait for another. */
static int is_template(long disk)
{
    static uint8_t block[BLOCK] __attribute__((aligned(BLOCK)));
    struct job_header header;
    long got = read_direct(disk, block, sizeof block);
    memcpy(&header, block, sizeof header);
    return got == sizeof block && same_bytes(header.magic, JOB_MAGIC, 8) && header.state == STATE_TEMPLATE;
}

/* Costs nothing where nothing was restored. */
static void forget_if_restored(long disk)
{
    if (restored)
        sys(__NR_ioctl, disk, BLKFLSBUF, 0);
}

#endif
