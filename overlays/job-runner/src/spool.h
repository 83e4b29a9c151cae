/*
 * Output that is too much for a serial port: after so many bytes a stream goes on on the result disk, and the host is
 * told now and then how much stands there (docs/job-protocol.md).
 */
#ifndef HPCVM_SPOOL_H
#define HPCVM_SPOOL_H

#include "reports.h"
#include "disk.h"

/* The host is told of so many bytes at once, and at least once a second. */
#define SPOOL_STEP (4u << 20)
#define SPOOL_PERIOD 1000000000u

/* Standard error's room follows standard output's; no room: every byte goes by its port. */
static struct { uint64_t after, offset, room; } spool;
static uint64_t spooled[2], spool_told, spool_told_at;

static void take_spool(const char *bytes, uint32_t length)
{
    if (length >= sizeof spool)
        memcpy(&spool, bytes, sizeof spool);
}

static int is_spool_untold(void)
{
    return spooled[0] + spooled[1] != spool_told;
}

/* Has the disk take what was written to it, and tells the host how much that is. */
static void tell_spooled(void)
{
    struct text t = {.length = 0};
    if (!is_spool_untold())
        return;
    sys(__NR_fdatasync, result_disk);
    put(&t, "spooled ");
    put_number(&t, spooled[0]);
    put(&t, " ");
    put_number(&t, spooled[1]);
    put(&t, "\n");
    tell(&t);
    spool_told = spooled[0] + spooled[1];
    spool_told_at = uptime_ns();
}

/* How many bytes of a stream that has had TOTAL may be read at once: those of its port, or those of the disk. */
static size_t spool_piece(uint64_t total, size_t most)
{
    if (!spool.room || total >= spool.after || spool.after - total >= most)
        return most;
    return (size_t)(spool.after - total);
}

static int is_spooled(uint64_t total)
{
    return spool.room && result_disk >= 0 && total >= spool.after;
}

/* Writes N bytes of stream 0 or 1; returns 0 when the disk takes no more. */
static int spool_out(int stream, const char *bytes, size_t n)
{
    uint64_t at = spool.offset + (stream ? spool.room : 0) + spooled[stream];
    if (n > spool.room - spooled[stream])
        return 0;
    for (size_t done = 0; done < n;) {
        long wrote = write_at(result_disk, bytes + done, n - done, at + done);
        if (wrote > 0)
            done += (size_t)wrote;
        else if (wrote != -EINTR)
            return 0;
    }
    spooled[stream] += n;
    if (spooled[0] + spooled[1] - spool_told >= SPOOL_STEP || uptime_ns() - spool_told_at >= SPOOL_PERIOD)
        tell_spooled();
    return 1;
}

#endif
