/*
 * Which file a path leads to, to know later that it is the same and unchanged (statx(2)).
 */
#ifndef HPCVM_FILES_H
#define HPCVM_FILES_H

#include "sys.h"

#include <linux/stat.h>

#define AT_FDCWD (-100)
#define O_PATH 010000000

struct file_identity {
    uint64_t inode, length;
    int64_t seconds; /* when its content was changed */
    uint32_t nanoseconds, major, minor, is_regular;
};

/* A path relative to the open FOLDER; a file that is not there has an identity of zeros. Returns whether it is there. */
static int identify(long folder, const char *path, struct file_identity *identity)
{
    struct statx found;
    memset(identity, 0, sizeof *identity);
    if (sys(__NR_statx, folder, path, 0, STATX_BASIC_STATS, &found) < 0)
        return 0;
    identity->inode = found.stx_ino;
    identity->length = found.stx_size;
    identity->seconds = found.stx_mtime.tv_sec;
    identity->nanoseconds = found.stx_mtime.tv_nsec;
    identity->major = found.stx_dev_major;
    identity->minor = found.stx_dev_minor;
    identity->is_regular = (found.stx_mode & 0170000) == 0100000;
    return 1;
}

static int is_same_file(const struct file_identity *a, const struct file_identity *b)
{
    return same_bytes(a, b, sizeof *a);
}

/* Files that must be as they were, by their paths. */
static struct {
    char path[256];
    struct file_identity identity;
} relied_on[64];
static int relied_on_count;

/* Returns 0 where there is no room for it. */
static int rely_on(const char *path)
{
    for (int i = 0; i < relied_on_count; i++)
        if (same(relied_on[i].path, path))
            return 1;
    if (relied_on_count == sizeof relied_on / sizeof *relied_on || length_of(path) >= sizeof relied_on->path)
        return 0;
    memcpy(relied_on[relied_on_count].path, path, length_of(path) + 1);
    identify(AT_FDCWD, path, &relied_on[relied_on_count++].identity);
    return 1;
}

/* Relies on each file that a process has mapped (proc_pid_maps(5)); returns 0 where there are too many. */
static int rely_on_mapped(long process)
{
    static char maps[1 << 16];
    struct text path = {.length = 0};
    put(&path, "/proc/");
    put_number(&path, (uint64_t)process);
    put(&path, "/maps");
    long length = read_file(path.bytes, maps, sizeof maps);
    if (length <= 0 || length == sizeof maps - 1)
        return 0;
    for (char *line = maps; *line;) {
        char *end = line, *name = 0;
        for (; *end && *end != '\n'; end++)
            if (*end == '/' && !name)
                name = end;
        char *next = *end ? end + 1 : end;
        *end = 0;
        if (name && !rely_on(name))
            return 0;
        line = next;
    }
    return 1;
}

static int are_unchanged(void)
{
    for (int i = 0; i < relied_on_count; i++) {
        struct file_identity now;
        identify(AT_FDCWD, relied_on[i].path, &now);
        if (!is_same_file(&now, &relied_on[i].identity))
            return 0;
    }
    return 1;
}

#endif
