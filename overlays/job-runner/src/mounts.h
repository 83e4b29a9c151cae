/*
 * File systems of the kernel, shared folders and the scratch disk.
 */
#ifndef HPCVM_MOUNTS_H
#define HPCVM_MOUNTS_H

#include "records.h"
#include "virtualbox.h"

static void mount_kernel_file_systems(void)
{
    static const struct { const char *type, *path, *options; } table[] = {
        {"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666"},
        {"tmpfs", "/dev/shm", "mode=1777"},
        {"tmpfs", "/run", "mode=0755"},
    };
    for (int i = 0; i < 3; i++) {
        sys(__NR_mkdir, table[i].path, 0755);
        sys(__NR_mount, table[i].type, table[i].path, table[i].type, MS_NOSUID | MS_NODEV, table[i].options);
    }
    sys(__NR_mkdir, "/run/lock", 01777);
    sys(__NR_symlink, "/proc/self/fd", "/dev/fd");
    sys(__NR_symlink, "/proc/self/fd/0", "/dev/stdin");
    sys(__NR_symlink, "/proc/self/fd/1", "/dev/stdout");
    sys(__NR_symlink, "/proc/self/fd/2", "/dev/stderr");
}

/* Mounts what the job asked for; returns the path that could not be, or 0. */
static const char *mount_shares(long *error)
{
    static const char options[] = "trans=virtio,version=9p2000.L,msize=512000,access=any,cache=mmap";
    for (int i = 0; i < share_count; i++) {
        make_folders(shares[i].path);
        int flags = shares[i].read_only ? MS_RDONLY : 0;
        *error = is_virtualbox() ? mount_shared_folder(shares[i].tag, shares[i].path, flags, uid, gid)
                                 : sys(__NR_mount, shares[i].tag, shares[i].path, "9p", flags, options);
        if (*error < 0)
            return shares[i].path;
    }
    return 0;
}

static long mount_if_scratch(const char *name, void *unused)
{
    struct text path = {.length = 0};
    char label[16];
    uint16_t magic;
    (void)unused;
    put(&path, "/dev/");
    put(&path, name);
    long fd = sys(__NR_open, path.bytes, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    forget_if_restored(fd);
    /* ext4 superblock at 1024: magic at 0x38, label at 0x78 (kernel: Documentation/filesystems/ext4) */
    sys(__NR_lseek, fd, 1024 + 0x38, SEEK_SET);
    long got = sys(__NR_read, fd, &magic, 2);
    sys(__NR_lseek, fd, 1024 + 0x78, SEEK_SET);
    got += sys(__NR_read, fd, label, sizeof label);
    sys(__NR_close, fd);
    if (got != 18 || magic != 0xef53 || !same_bytes(label, "hpcvm-scratch", 13))
        return 0;
    make_folders(scratch);
    long error = sys(__NR_mount, path.bytes, scratch, "ext4", MS_NOSUID | MS_NODEV, "");
    if (error < 0) {
        complain("cannot mount the scratch disk at", scratch, error);
        return -1;
    }
    sys(NR_CHOWN, scratch, uid, gid);
    return 1;
}

#endif
