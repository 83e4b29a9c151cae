/*
 * The job disk: found among the disks, read, and its records taken.
 */
#ifndef HPCVM_RECORDS_H
#define HPCVM_RECORDS_H

#include "reports.h"
#include "disk.h"
#include "spool.h"

static uint32_t crc32_of(const uint8_t *bytes, uint32_t n)
{
    uint32_t crc = ~0u;
    while (n--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static long claim_disk(const char *name, void *unused)
{
    struct text path = {.length = 0};
    char magic[8];
    (void)unused;
    if (!starts_with(name, "vd") && !starts_with(name, "sd"))
        return 0;
    put(&path, "/dev/");
    put(&path, name);
    long fd = sys(__NR_open, path.bytes, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        fd = sys(__NR_open, path.bytes, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    forget_if_restored(fd);
    long got = sys(__NR_read, fd, magic, sizeof magic);
    if (got == sizeof magic && job_disk < 0 && same_bytes(magic, JOB_MAGIC, 8))
        job_disk = fd;
    else if (got == sizeof magic && result_disk < 0 && same_bytes(magic, RESULT_MAGIC, 8))
        result_disk = fd;
    else
        sys(__NR_close, fd);
    return job_disk >= 0 && result_disk >= 0;
}

static const char *string(const char *bytes, uint32_t length)
{
    return length && !bytes[length - 1] ? bytes : "";
}

static uint32_t number(const char *bytes, uint32_t length)
{
    uint32_t n = 0;
    if (length >= 4)
        memcpy(&n, bytes, 4);
    return n;
}

static void take_share(char *bytes, uint32_t length)
{
    const char *tag = string(bytes + 4, length > 4 ? length - 4 : 0);
    size_t tag_length = length_of(tag) + 1;
    if (share_count == MAX_SHARES || 4 + tag_length >= length)
        return;
    shares[share_count].read_only = number(bytes, length) & 1;
    shares[share_count].tag = tag;
    shares[share_count++].path = string(bytes + 4 + tag_length, (uint32_t)(length - 4 - tag_length));
}

static void take_libraries(char *bytes, uint32_t length)
{
    const char *tag = string(bytes + 40, length > 40 ? length - 40 : 0);
    size_t tag_length = length_of(tag) + 1;
    if (length < 40 || 40 + tag_length >= length)
        return;
    libraries.kind = number(bytes, length);
    libraries.generation = number(bytes + 4, length);
    libraries.digest = (uint8_t *)bytes + 8;
    libraries.tag = tag;
    libraries.path = string(bytes + 40 + tag_length, (uint32_t)(length - 40 - tag_length));
}

static void take_record(uint16_t tag, char *bytes, uint32_t length)
{
    switch (tag) {
    case TAG_CLOCK:
        if (length >= 12) {
            memcpy(&clock_at_launch.seconds, bytes, 8);
            clock_at_launch.nanoseconds = number(bytes + 8, 4);
        }
        break;
    case TAG_HOSTNAME: hostname = string(bytes, length); break;
    case TAG_SEED: seed = (uint8_t *)bytes; seed_length = length; break;
    case TAG_UID: uid = number(bytes, length); has_user = 1; break;
    case TAG_GID: gid = number(bytes, length); break;
    case TAG_GROUP: if (group_count < 256) groups[group_count++] = number(bytes, length); break;
    case TAG_USER: user = string(bytes, length); break;
    case TAG_HOME: home = string(bytes, length); break;
    case TAG_ARGUMENT: if (argument_count < MAX_STRINGS - 1) arguments[argument_count++] = (char *)string(bytes, length); break;
    case TAG_VARIABLE: if (variable_count < MAX_STRINGS - 1) variables[variable_count++] = (char *)string(bytes, length); break;
    case TAG_FOLDER: folder = string(bytes, length); break;
    case TAG_UMASK: mask = number(bytes, length); break;
    case TAG_SHARE: take_share(bytes, length); break;
    case TAG_INPUT: has_input = 1; input_offset = number(bytes, length); break;
    case TAG_OUTPUT: if (output_count < 255) outputs[output_count++] = (char *)string(bytes, length); break;
    case TAG_NETWORK:
        if (length >= 16)
            network = (uint8_t *)bytes;
        has_hardware_address = length >= 22;
        break;
    case TAG_SCRATCH: scratch = string(bytes, length); break;
    case TAG_LIBRARIES: take_libraries(bytes, length); break;
    case TAG_TOUCH: if (touch_count < 64) touches[touch_count++] = (char *)string(bytes, length); break;
    case TAG_OTHERS: others_ran = 1; break;
    case TAG_SPOOL: take_spool(bytes, length); break;
    case TAG_HOLD: if (held_count < 8) to_be_held[held_count++] = (char *)string(bytes, length); break;
    case TAG_PRELOAD: if (length && !bytes[length - 1]) preload_words = bytes, preload_length = length; break;
    }
}

/* Finds the job disk, and the result disk if it is there. */
static const char *find_disks(void)
{
    for (int waited = 0; !each_entry("/sys/block", claim_disk, 0) && job_disk < 0; waited += 10) {
        if (waited > 10000)
            return "no job disk";
        sleep_ms(10);
    }
    return 0;
}

/* Reads what the job disk says; returns what is wrong, or 0. */
static const char *read_job(void)
{
    struct job_header header;
    if (!job_length && read_direct(job_disk, body, BLOCK) != BLOCK)
        return "the job disk cannot be read";
    memcpy(&header, body, sizeof header);
    if (header.version != FORMAT_VERSION)
        return "the job disk's version is not mine";
    if (header.body_length > MAX_BODY)
        return "the job description is too long";
    uint32_t end = sizeof header + header.body_length;
    if (job_length && job_length != end)
        return "the job description is cut short";
    if (!job_length && end > BLOCK && read_direct(job_disk, body, (end + BLOCK - 1) & ~(BLOCK - 1)) < (long)end)
        return "the job description is cut short";
    if (crc32_of((uint8_t *)body + sizeof header, header.body_length) != header.body_crc32)
        return "the job description is damaged";
    for (uint32_t at = sizeof header; at + sizeof(struct record) <= end;) {
        struct record record;
        memcpy(&record, body + at, sizeof record);
        at += sizeof record;
        if (record.length > end - at)
            return "a record of the job description is cut short";
        take_record(record.tag, body + at, record.length);
        at += record.length;
    }
    variables[variable_count] = 0;
    return argument_count || header.state == STATE_TEMPLATE ? 0 : "the job has no command";
}

#endif
