/*
 * Mounts the shared library repository, to which links of the image lead, read-only.
 *
 * It is a folder of the host over 9p, or one generation of it exported as a disk: a squashfs,
 * and in the 4096 bytes after it a trailer that names the generation (docs/job-protocol.md).
 */
#ifndef HPCVM_LIBRARIES_H
#define HPCVM_LIBRARIES_H

#include "disk.h"
#include "job.h"
#include "sys.h"
#include "virtualbox.h"

static struct {
    uint32_t kind; /* 0: the image links to none */
    uint32_t generation;
    const uint8_t *digest;
    const char *tag, *path;
} libraries;
static int libraries_mounted;

/* Whether the disk FD is the wanted generation's. */
static int holds_libraries(long fd)
{
    uint8_t start[48];
    struct library_trailer trailer;
    uint64_t used;
    if (read_at(fd, start, sizeof start, 0) != sizeof start || !same_bytes(start, "hsqs", 4))
        return 0;
    /* squashfs superblock: bytes used at 40 (fs/squashfs/squashfs_fs.h) */
    memcpy(&used, start + 40, 8);
    if (read_at(fd, &trailer, sizeof trailer, (used + 4095) & ~(uint64_t)4095) != sizeof trailer)
        return 0;
    return same_bytes(trailer.magic, LIBRARY_MAGIC, 8) && trailer.version == LIBRARY_VERSION &&
           trailer.generation == libraries.generation && same_bytes(trailer.digest, libraries.digest, 32);
}

static long find_libraries(const char *name, void *device)
{
    struct text path = {.length = 0};
    if (!starts_with(name, "vd") && !starts_with(name, "sd"))
        return 0;
    put(&path, "/dev/");
    put(&path, name);
    long fd = sys(__NR_open, path.bytes, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    forget_if_restored(fd);
    int found = holds_libraries(fd);
    sys(__NR_close, fd);
    if (found)
        memcpy(device, &path, sizeof path);
    return found;
}

/* Returns what is wrong, or 0. Objects never change, so the guest may keep what it has read. */
static const char *mount_libraries(long *error)
{
    static const char options[] = "trans=virtio,version=9p2000.L,msize=512000,access=any,cache=loose";
    struct text device;
    make_folders(libraries.path);
    if (libraries.kind == LIBRARIES_FOLDER) {
        int flags = MS_RDONLY | MS_NOSUID | MS_NODEV;
        *error = is_virtualbox() ? mount_shared_folder(libraries.tag, libraries.path, flags, 0, 0)
                                 : sys(__NR_mount, libraries.tag, libraries.path, "9p", flags, options);
        return *error < 0 ? "the host's folder" : 0;
    }
    for (int waited = 0; !each_entry("/sys/block", find_libraries, &device); waited += 10) {
        if (waited > 10000)
            return "no disk holds their generation";
        sleep_ms(10);
    }
    *error = sys(__NR_mount, device.bytes, libraries.path, "squashfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "");
    libraries_mounted = *error >= 0;
    return *error < 0 ? "their disk" : 0;
}

#endif
