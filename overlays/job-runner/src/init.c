/*
 * hpcvm's initial RAM disk: process 1 until the root file system is there.
 *
 * Loads the kernel modules that the machine's PCI devices call for, finds and mounts the root
 * file system, lays a memory-backed overlay over a read-only one, and hands over to the
 * guest's init. It waits for nothing but the root device.
 *
 * Kernel command line:
 *   hpcvm.root=/dev/vda         a whole device, or
 *   hpcvm.root=1a2b3c4d-02      the partition of the disk with this MBR signature
 *   hpcvm.rootfs=squashfs       its file system type; ext4 is mounted writable, others under an overlay
 *   hpcvm.init=PATH             what to start, by default the job runner
 *   hpcvm.load=GROUP[,GROUP]    module groups to load besides those found necessary
 *   hpcvm.skip=GROUP[,GROUP]    module groups to leave out although a device calls for them
 *
 * /modules/plan has a line per module group: a name, the PCI matches that call for it ("-" for
 * always, "?" for only when asked, else VENDOR:FIRST-LAST or class:CLASS/MASK in hexadecimal,
 * comma-separated), and the module files in load order.
 */
#include "sys.h"

#define MAX_DEVICES 64
#define MAX_LOADED 128

static char command_line[4096];
static char plan[65536];
static struct { uint32_t vendor, device, class; } devices[MAX_DEVICES];
static int device_count;
static const char *loaded[MAX_LOADED];
static int loaded_count;

__attribute__((noreturn)) static void fail(const char *what, const char *name, long error)
{
    struct text t = {.length = 0};
    put(&t, "hpcvm-init: ");
    put(&t, what);
    put(&t, " ");
    put(&t, name);
    if (error < 0) {
        put(&t, ": error ");
        put_number(&t, (uint64_t)-error);
    }
    put(&t, "\n");
    say(&t);
    sys(__NR_reboot, 0xfee1dead, 672274793, REBOOT_POWER_OFF, 0);
    for (;;)
        sleep_ms(1000);
}

/* Copies the value of NAME= on the command line; 0 where it is not there. */
static int option(const char *name, char *value, size_t size)
{
    for (const char *p = command_line; *p; p++) {
        if ((p == command_line || p[-1] == ' ') && starts_with(p, name) && p[length_of(name)] == '=') {
            size_t n = 0;
            for (p += length_of(name) + 1; *p && *p != ' ' && *p != '\n' && n < size - 1;)
                value[n++] = *p++;
            value[n] = 0;
            return 1;
        }
    }
    return 0;
}

static uint32_t hexadecimal(const char *s, const char **end)
{
    uint32_t n = 0;
    for (;; s++) {
        uint32_t digit;
        if (*s >= '0' && *s <= '9')
            digit = (uint32_t)(*s - '0');
        else if (*s >= 'a' && *s <= 'f')
            digit = (uint32_t)(*s - 'a') + 10;
        else
            break;
        n = n << 4 | digit;
    }
    if (end)
        *end = s;
    return n;
}

static uint32_t device_attribute(const char *device, const char *attribute)
{
    struct text path = {.length = 0};
    char value[32];
    put(&path, "/sys/bus/pci/devices/");
    put(&path, device);
    put(&path, "/");
    put(&path, attribute);
    return read_file(path.bytes, value, sizeof value) > 2 ? hexadecimal(value + 2, 0) : 0;
}

static long note_device(const char *name, void *unused)
{
    (void)unused;
    if (device_count < MAX_DEVICES) {
        devices[device_count].vendor = device_attribute(name, "vendor");
        devices[device_count].device = device_attribute(name, "device");
        devices[device_count].class = device_attribute(name, "class");
        device_count++;
    }
    return 0;
}

/* Whether one of the comma-separated matches is met by a device that is there. */
static int called_for(const char *match)
{
    for (;;) {
        int by_class = starts_with(match, "class:");
        const char *next;
        uint32_t first = hexadecimal(by_class ? match + 6 : match, &next);
        uint32_t second = *next ? hexadecimal(next + 1, &next) : 0;
        uint32_t third = !by_class && *next == '-' ? hexadecimal(next + 1, &next) : second;
        for (int i = 0; i < device_count; i++) {
            if (by_class ? (devices[i].class & second) == (first & second)
                         : devices[i].vendor == first && devices[i].device >= second && devices[i].device <= third)
                return 1;
        }
        if (*next != ',')
            return 0;
        match = next + 1;
    }
}

/* Whether WORD (ended by a space) is an item of the comma-separated LIST. */
static int listed(const char *word, const char *list)
{
    size_t n = 0;
    while (word[n] && word[n] != ' ')
        n++;
    while (*list) {
        if (same_bytes(word, list, n) && (list[n] == 0 || list[n] == ','))
            return 1;
        while (*list && *list != ',')
            list++;
        if (*list)
            list++;
    }
    return 0;
}

static void load_module(const char *name)
{
    struct text path = {.length = 0};
    for (int i = 0; i < loaded_count; i++)
        if (same(loaded[i], name))
            return;
    if (loaded_count < MAX_LOADED)
        loaded[loaded_count++] = name;
    put(&path, "/modules/");
    put(&path, name);
    long fd = sys(__NR_open, path.bytes, O_RDONLY | O_CLOEXEC, 0);
    long error = fd < 0 ? fd : sys(__NR_finit_module, fd, "", 0);
    if (error < 0 && error != -EEXIST) {
        /* A module for hardware that turns out different is not fatal: the root may still mount. */
        struct text t = {.length = 0};
        put(&t, "hpcvm-init: cannot load ");
        put(&t, name);
        put(&t, ": error ");
        put_number(&t, (uint64_t)-error);
        put(&t, "\n");
        say(&t);
    }
    if (fd >= 0)
        sys(__NR_close, fd);
}

static void load_modules(void)
{
    char asked[256] = "", unwanted[256] = "";
    option("hpcvm.load", asked, sizeof asked);
    option("hpcvm.skip", unwanted, sizeof unwanted);
    each_entry("/sys/bus/pci/devices", note_device, 0);
    if (read_file("/modules/plan", plan, sizeof plan) < 0)
        return;
    for (char *line = plan; *line;) {
        char *word = line, *match, *end = line;
        while (*end && *end != '\n')
            end++;
        char *next = *end ? end + 1 : end;
        *end = 0;
        for (match = word; *match && *match != ' ';)
            match++;
        if (*match)
            match++;
        int wanted = *match == '-' || (*match != '?' && called_for(match)) || listed(word, asked);
        wanted = wanted && !listed(word, unwanted);
        char *p = match;
        while (*p && *p != ' ')
            p++;
        while (wanted && p < end) {
            char *name = ++p;
            while (*p && *p != ' ')
                p++;
            *p = 0;
            load_module(name);
        }
        line = next;
    }
}

struct wanted_disk {
    uint32_t signature;
    char number[4];
    struct text device;
};

/* Takes the disk whose master boot record has the wanted signature, if NAME is one. */
static long match_signature(const char *name, void *context)
{
    struct wanted_disk *wanted = context;
    struct text path = {.length = 0};
    uint8_t sector[512];
    uint32_t signature;
    put(&path, "/dev/");
    put(&path, name);
    long fd = sys(__NR_open, path.bytes, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    long got = sys(__NR_read, fd, sector, sizeof sector);
    sys(__NR_close, fd);
    memcpy(&signature, sector + 440, 4);
    if (got != sizeof sector || sector[510] != 0x55 || sector[511] != 0xaa || signature != wanted->signature)
        return 0;
    wanted->device.length = 0;
    put(&wanted->device, path.bytes);
    put(&wanted->device, wanted->number);
    return 1;
}

/* Resolves hpcvm.root to a device node that can be opened; 0 where it is not there yet. */
static int find_root(const char *root, struct text *device)
{
    device->length = 0;
    if (root[0] == '/') {
        put(device, root);
    } else {
        struct wanted_disk wanted = {.number = "1"};
        const char *end;
        wanted.signature = hexadecimal(root, &end);
        if (*end == '-' && end[1] && end[2])
            wanted.number[0] = end[2];
        if (!each_entry("/sys/block", match_signature, &wanted))
            return 0;
        put(device, wanted.device.bytes);
    }
    long fd = sys(__NR_open, device->bytes, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    sys(__NR_close, fd);
    return 1;
}

static void mount_root(void)
{
    char root[64] = "", type[32] = "squashfs";
    struct text device;
    option("hpcvm.rootfs", type, sizeof type);
    if (!option("hpcvm.root", root, sizeof root))
        fail("the kernel command line does not say", "hpcvm.root", 0);
    /* Emulated AHCI needs seconds to find its disks on a loaded host. */
    for (int waited = 0; !find_root(root, &device); waited++) {
        if (waited > 60000)
            fail("no disk holds the root file system", root, 0);
        sleep_ms(1);
    }
    int writable = same(type, "ext4");
    long error = sys(__NR_mount, device.bytes, writable ? "/root" : "/lower", type, writable ? 0 : MS_RDONLY, "");
    if (error < 0)
        fail("cannot mount the root file system", device.bytes, error);
    if (writable)
        return;
    error = sys(__NR_mount, "tmpfs", "/upper", "tmpfs", 0, "mode=0755");
    if (error < 0)
        fail("cannot mount a", "tmpfs", error);
    sys(__NR_mkdir, "/upper/data", 0755);
    sys(__NR_mkdir, "/upper/work", 0755);
    error = sys(__NR_mount, "overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work");
    if (error < 0)
        fail("cannot mount the", "overlay", error);
}

__attribute__((noreturn, used)) static void start(long *stack)
{
    (void)stack;
    static const char *const moved[] = {"/dev", "/proc", "/sys"};
    char program[256] = "/usr/lib/hpcvm/job-runner";
    struct text target, began = {.length = 0};
    put(&began, "HPCVM_INIT=");
    put_number(&began, uptime_ns());
    sys(__NR_mount, "devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
    sys(__NR_mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
    sys(__NR_mount, "sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
    read_file("/proc/cmdline", command_line, sizeof command_line);
    load_modules();
    mount_root();
    for (int i = 0; i < 3; i++) {
        target.length = 0;
        put(&target, "/root");
        put(&target, moved[i]);
        sys(__NR_mkdir, target.bytes, 0755);
        long error = sys(__NR_mount, moved[i], target.bytes, 0, MS_MOVE, 0);
        if (error < 0)
            fail("cannot move", moved[i], error);
    }
    sys(__NR_chdir, "/root");
    sys(__NR_mount, ".", "/", 0, MS_MOVE, 0);
    sys(__NR_chroot, ".");
    sys(__NR_chdir, "/");
    option("hpcvm.init", program, sizeof program);
    char *const arguments[] = {program, 0};
    char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux", began.bytes, 0};
    fail("cannot start", program, sys(__NR_execve, program, arguments, environment));
}
