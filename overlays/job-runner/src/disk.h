/*
 * Disks that may have become others: a guest restored from a template finds other bytes on the
 * same devices, and must not believe what it remembers of them.
 */
#ifndef HPCVM_DISK_H
#define HPCVM_DISK_H

#include "job.h"
#include "sys.h"

#define BLKFLSBUF 0x1261 /* linux/fs.h: forget what is cached of a block device */

static int restored;

static long read_at(long fd, void *bytes, size_t n, uint64_t at)
{
#if defined(__i386__)
    return sys(__NR_pread64, fd, bytes, n, (uint32_t)at, (uint32_t)(at >> 32));
#else
    return sys(__NR_pread64, fd, bytes, n, at);
#endif
}

/* A sector as the device has it now, whatever the page cache remembers; whether it tells to wait for a job. */
static int is_template(long disk)
{
    static uint8_t sector[512] __attribute__((aligned(4096)));
    struct job_header header;
    sys(__NR_fcntl, disk, F_SETFL, O_DIRECT);
    long got = read_at(disk, sector, sizeof sector, 0);
    sys(__NR_fcntl, disk, F_SETFL, 0);
    memcpy(&header, sector, sizeof header);
    return got == sizeof sector && same_bytes(header.magic, JOB_MAGIC, 8) && header.state == STATE_TEMPLATE;
}

/* Costs nothing where nothing was restored. */
static void forget_if_restored(long disk)
{
    if (restored)
        sys(__NR_ioctl, disk, BLKFLSBUF, 0);
}

#endif
