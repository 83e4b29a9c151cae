/*
 * What is different under VirtualBox: serial ports in place of named ports, and its own shared folders. COM1 is the
 * console.
 */
#ifndef HPCVM_VIRTUALBOX_H
#define HPCVM_VIRTUALBOX_H

#define TCSETS 0x5402
#define O_NOCTTY 0400

static int is_virtualbox(void)
{
    static int known; /* 1: no, 2: yes */
    char name[16] = "";
    if (!known) {
        read_file("/sys/class/dmi/id/product_name", name, sizeof name);
        known = starts_with(name, "VirtualBox") ? 2 : 1;
    }
    return known == 2;
}

/* Opens the serial port that stands for NAME, and has it pass every byte as it is. */
static long open_serial(const char *name)
{
    struct { uint32_t input, output, control, local; uint8_t line, characters[19]; } settings;
    const char *device = same(name, "hpcvm.control") ? "/dev/ttyS1"
                         : same(name, "hpcvm.stderr") ? "/dev/ttyS3"
                                                      : "/dev/ttyS2"; /* both directions of one port */
    long fd = sys(__NR_open, device, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    memset(&settings, 0, sizeof settings);
    settings.control = 010002 | 060 | 0200 | 04000; /* B115200, CS8, CREAD, CLOCAL */
    settings.characters[6] = 1;                     /* VMIN */
    sys(__NR_ioctl, fd, TCSETS, &settings);
    return fd;
}

/* Mounts the host's folder TAG; all in it belongs to this user, for VirtualBox has no owners to show. */
static long mount_shared_folder(const char *tag, const char *path, int flags, uint32_t uid, uint32_t gid)
{
    struct text options = {.length = 0};
    put(&options, "uid=");
    put_number(&options, uid);
    put(&options, ",gid=");
    put_number(&options, gid);
    return sys(__NR_mount, tag, path, "vboxsf", flags, options.bytes);
}

#endif
