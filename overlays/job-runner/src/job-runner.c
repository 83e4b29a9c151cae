/*
 * hpcvm's job runner: runs one job in the guest and powers the guest off.
 *
 * As process 1 it replaces the guest's init, so that nothing else is ever started. Started by
 * the guest's own init (`job-runner --service`), it does the same work as one service among
 * others and ends by asking that init to power off.
 *
 * What to run stands on the job disk; standard streams and the control conversation go over
 * virtio-serial ports named hpcvm.control, hpcvm.stdin, hpcvm.stdout and hpcvm.stderr
 * (docs/job-protocol.md). The job gets its streams as pipes, its own session and process
 * group, the caller's numeric user and group.
 */
#include "job.h"
#include "sys.h"
#include "virtualbox.h"
#include "libraries.h"
#include "interpreter.h"
#include "disk.h"
#include "preload.h"

#define MAX_BODY (4u << 20)
#define MAX_STRINGS 16384
#define MAX_SHARES 32
#define CHUNK 65536

/* The start of the job disk: its header, then the records. */
static char body[MAX_BODY + 2 * BLOCK] __attribute__((aligned(BLOCK)));
static char *arguments[MAX_STRINGS], *variables[MAX_STRINGS], *outputs[256];
static int argument_count, variable_count, output_count;
static struct { uint32_t read_only; const char *tag, *path; } shares[MAX_SHARES];
static int share_count;
static uint32_t uid, gid, groups[256], mask = 022;
static int group_count;
static const char *hostname = "hpcvm", *user = "job", *home = "/home/job", *folder = "/", *scratch;
static const uint8_t *seed, *network;
static int has_hardware_address; /* after the addresses of `network` */
static uint32_t seed_length;
static struct timespec64 clock_at_launch;
static uint32_t input_offset;
static int has_input, is_service;
static const char *init_began; /* uptime at which the initial RAM disk's program began */
static char *touches[64];
static int touch_count;
static char *preload_words;
static uint32_t preload_length;
static long job_disk = -1, result_disk = -1, control = -1;
static struct text control_line;

static int others_ran; /* in the template, besides what hpcvm itself runs there */

/* ---- reports ---- */

__attribute__((noreturn)) static void power_off(void)
{
    sys(__NR_sync);
    if (is_service) {
        char *const argv[] = {"/sbin/poweroff", 0};
        char *const envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", 0};
        sys(__NR_execve, argv[0], argv, envp);
    }
    sys(__NR_reboot, 0xfee1dead, 672274793, REBOOT_POWER_OFF, 0);
    for (;;)
        sleep_ms(1000);
}

static void complain(const char *what, const char *name, long error)
{
    struct text t = {.length = 0};
    put(&t, "hpcvm-job-runner: ");
    put(&t, what);
    put(&t, " ");
    put(&t, name);
    if (error < 0) {
        put(&t, ": error ");
        put_number(&t, (uint64_t)-error);
    }
    put(&t, "\n");
    say(&t);
}

/* Sends a line of the control conversation, waiting until the host takes it. */
static void tell(const struct text *line)
{
    size_t sent = 0;
    while (control >= 0 && sent < line->length) {
        long n = sys(__NR_write, control, line->bytes + sent, line->length - sent);
        if (n == -EAGAIN) {
            struct pollfd wait = {(int)control, POLLOUT, 0};
            sys(__NR_poll, &wait, 1, 1000);
        } else if (n <= 0 && n != -EINTR) {
            return;
        } else if (n > 0) {
            sent += (size_t)n;
        }
    }
}

static void tell_event(const char *event, const char *more)
{
    struct text t = {.length = 0};
    put(&t, event);
    put(&t, " ");
    put_number(&t, uptime_ns());
    put(&t, more);
    put(&t, "\n");
    tell(&t);
}

/* Tells a path that a file of the job named: it may hold anything but an end of a line. */
static void tell_text(const char *event, const char *path)
{
    struct text t = {.length = 0};
    put(&t, event);
    put(&t, path);
    for (size_t i = 0; i < t.length; i++)
        if ((unsigned char)t.bytes[i] < ' ')
            t.bytes[i] = '?';
    put(&t, "\n");
    tell(&t);
}

/* ---- the job disk ---- */

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
    case TAG_UID: uid = number(bytes, length); break;
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
    if (read_direct(job_disk, body, BLOCK) != BLOCK)
        return "the job disk cannot be read";
    memcpy(&header, body, sizeof header);
    if (header.version != FORMAT_VERSION)
        return "the job disk's version is not mine";
    if (header.body_length > MAX_BODY)
        return "the job description is too long";
    uint32_t end = sizeof header + header.body_length;
    if (end > BLOCK && read_direct(job_disk, body, (end + BLOCK - 1) & ~(BLOCK - 1)) < (long)end)
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

/* ---- the guest's identity ---- */

#define RNDADDENTROPY 0x40085203
#define RNDRESEEDCRNG 0x5207
#define SIOCSIFFLAGS 0x8914
#define SIOCSIFADDR 0x8916
#define SIOCSIFNETMASK 0x891c
#define SIOCSIFHWADDR 0x8924
#define SIOCADDRT 0x890b

static void add_entropy(void)
{
    struct { int32_t bits, bytes; uint8_t pool[512]; } entropy;
    long fd = sys(__NR_open, "/dev/urandom", O_WRONLY | O_CLOEXEC, 0);
    uint32_t n = seed_length < sizeof entropy.pool ? seed_length : sizeof entropy.pool;
    if (fd < 0 || !n)
        return;
    entropy.bits = (int32_t)(8 * n);
    entropy.bytes = (int32_t)n;
    memcpy(entropy.pool, seed, n);
    sys(__NR_ioctl, fd, RNDADDENTROPY, &entropy);
    /* A generator that is ready takes what it was given minutes later; until then it would give the
       same numbers to all guests that were restored from one template. */
    sys(__NR_ioctl, fd, RNDRESEEDCRNG, 0);
    sys(__NR_close, fd);
    memset(&entropy, 0, sizeof entropy);
}

struct interface {
    char name[16];
    union {
        struct { uint16_t family, port; uint8_t address[4], zero[8]; } internet;
        int16_t flags;
        uint8_t room[24];
    } u;
};

static long interface_call(long fd, long request, const char *name, const uint8_t *address, int flags)
{
    struct interface request_data;
    memset(&request_data, 0, sizeof request_data);
    memcpy(request_data.name, name, length_of(name));
    if (address) {
        request_data.u.internet.family = 2; /* AF_INET */
        memcpy(request_data.u.internet.address, address, 4);
    } else {
        request_data.u.flags = (int16_t)flags;
    }
    return sys(__NR_ioctl, fd, request, &request_data);
}

/* A copy's network interface has the template's own address until then. */
static void set_hardware_address(long fd, const char *name, const uint8_t *address)
{
    struct interface request_data;
    memset(&request_data, 0, sizeof request_data);
    memcpy(request_data.name, name, length_of(name));
    request_data.u.internet.family = 1; /* ARPHRD_ETHER */
    memcpy((uint8_t *)&request_data.u.internet + 2, address, 6);
    sys(__NR_ioctl, fd, SIOCSIFHWADDR, &request_data);
}

static long note_interface(const char *name, void *found)
{
    if (same(name, "lo") || length_of(name) > 15)
        return 0;
    memcpy(found, name, length_of(name) + 1);
    return 1;
}

struct route {
    unsigned long pad1;
    struct { uint16_t family, port; uint8_t address[4], zero[8]; } destination, gateway, mask;
    unsigned short flags;
    short pad2;
    unsigned long pad3;
    void *pad4;
    short metric;
    char *device;
    unsigned long mtu, window;
    unsigned short irtt;
};

static long socket_for_settings(void)
{
#if defined(__i386__)
    long call[3] = {2, 2, 0}; /* AF_INET, SOCK_DGRAM */
    return sys(__NR_socketcall, 1, call);
#else
    return sys(__NR_socket, 2, 2, 0);
#endif
}

static void configure_network(void)
{
    char name[16] = "";
    long fd = socket_for_settings();
    if (fd < 0)
        return;
    interface_call(fd, SIOCSIFFLAGS, "lo", 0, 1 /* IFF_UP */);
    if (network && each_entry("/sys/class/net", note_interface, name)) {
        struct route route;
        struct text line = {.length = 0};
        memset(&route, 0, sizeof route);
        route.destination.family = route.gateway.family = route.mask.family = 2;
        memcpy(route.gateway.address, network + 8, 4);
        route.flags = 3; /* RTF_UP | RTF_GATEWAY */
        if (has_hardware_address)
            set_hardware_address(fd, name, network + 16);
        interface_call(fd, SIOCSIFADDR, name, network, 0);
        interface_call(fd, SIOCSIFNETMASK, name, network + 4, 0);
        interface_call(fd, SIOCSIFFLAGS, name, 0, 1);
        sys(__NR_ioctl, fd, SIOCADDRT, &route);
        put(&line, "nameserver ");
        for (int i = 0; i < 4; i++) {
            put_number(&line, network[12 + i]);
            put(&line, i < 3 ? "." : "\n");
        }
        sys(__NR_unlink, "/etc/resolv.conf");
        long file = sys(__NR_open, "/etc/resolv.conf", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        write_all(file, line.bytes, line.length);
        sys(__NR_close, file);
    }
    sys(__NR_close, fd);
}

/*
 * Gives the caller's numeric id the job user's name. The new line comes first, so that it wins
 * over entries of that name or number which the image brought.
 */
/*
 * Files that are written before every job. To open one for writing copies it into the overlay,
 * which is a sixth of all instructions between a restored machine's first and its job: a template
 * has done that, and keeps them open.
 */
static struct {
    const char *path;
    long fd;
} kept_open[] = {{"/etc/hosts", -1}, {"/etc/passwd", -1}, {"/etc/group", -1}};

static void keep_open(void)
{
    for (size_t i = 0; i < sizeof kept_open / sizeof *kept_open; i++)
        kept_open[i].fd = sys(__NR_open, kept_open[i].path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
}

/* The file, if it is kept open. */
static long kept(const char *path)
{
    for (size_t i = 0; i < sizeof kept_open / sizeof *kept_open; i++)
        if (same(kept_open[i].path, path))
            return kept_open[i].fd;
    return -1;
}

static void name_account(const char *path, uint32_t id, const char *name, const char *rest)
{
    static char old[1 << 20];
    struct text line = {.length = 0};
    struct text wanted = {.length = 0};
    long fd = kept(path);
    long length = fd >= 0 ? read_all(fd, old, sizeof old) : read_file(path, old, sizeof old);
    put(&wanted, name);
    put(&wanted, ":x:");
    put_number(&wanted, id);
    put(&wanted, ":");
    for (long i = 0; i < length; i++)
        if ((i == 0 || old[i - 1] == '\n') && starts_with(old + i, wanted.bytes))
            return;
    put(&line, wanted.bytes);
    put(&line, rest);
    put(&line, "\n");
    if (fd < 0)
        fd = sys(__NR_open, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    /* What is written is longer than what was there, and so leaves nothing of it behind. */
    sys(__NR_lseek, fd, 0, SEEK_SET);
    write_all(fd, line.bytes, line.length);
    if (length > 0)
        write_all(fd, old, (size_t)length);
    sys(__NR_close, fd);
}

/* The guest's own name has an address, as on any Debian: MPI and many others ask for it. */
static void name_host(void)
{
    struct text line = {.length = 0};
    put(&line, "127.0.1.1 ");
    put(&line, hostname);
    put(&line, "\n");
    long fd = kept("/etc/hosts");
    if (fd < 0)
        fd = sys(__NR_open, "/etc/hosts", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    sys(__NR_lseek, fd, 0, SEEK_END);
    write_all(fd, line.bytes, line.length);
    sys(__NR_close, fd);
}

/* Makes LINE a random identifier of RFC 4122 in hexadecimal, and an end of line; returns its length. */
static size_t make_identifier(char line[40], int dashes)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t id[16];
    size_t n = 0;
    long fd = sys(__NR_open, "/dev/urandom", O_RDONLY | O_CLOEXEC, 0);
    long got = sys(__NR_read, fd, id, sizeof id);
    sys(__NR_close, fd);
    if (got != sizeof id)
        return 0;
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    for (int i = 0; i < 16; i++) {
        if (dashes && (i == 4 || i == 6 || i == 8 || i == 10))
            line[n++] = '-';
        line[n++] = digits[id[i] >> 4];
        line[n++] = digits[id[i] & 15];
    }
    line[n++] = '\n';
    return n;
}

/*
 * The kernel makes the boot's identifier when it is first read, and keeps it. What ran before the
 * template was saved may have read it: then it would be the same in every copy.
 */
static void renew_boot_id(void)
{
    char line[40];
    size_t length = make_identifier(line, 1);
    long fd = sys(__NR_open, "/run/hpcvm-boot-id", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
    if (fd >= 0 && length && write_all(fd, line, length) == 0)
        sys(__NR_mount, "/run/hpcvm-boot-id", "/proc/sys/kernel/random/boot_id", 0, MS_BIND, 0);
    sys(__NR_close, fd);
}

/*
 * A copy is another machine (machine-id(5)): the guest's own init gave the template an identifier.
 * Where systemd could not write the file it has mounted another over it, read-only.
 */
static void renew_machine_id(void)
{
    static const char *const files[] = {"/etc/machine-id", "/var/lib/dbus/machine-id"};
    char old[64], line[40];
    size_t length = 0;
    long fd;
    for (int i = 0; i < 2; i++) {
        if (read_file(files[i], old, sizeof old) < 32 || !(length = length ? length : make_identifier(line, 0)))
            continue;
        fd = sys(__NR_open, files[i], O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
        if (fd < 0 && sys(__NR_umount2, files[i], MNT_DETACH) == 0)
            fd = sys(__NR_open, files[i], O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0);
        if (fd >= 0)
            write_all(fd, line, length);
        sys(__NR_close, fd);
    }
}

static void take_identity(void)
{
    struct text rest = {.length = 0};
    if (clock_at_launch.seconds)
        sys(NR_CLOCK_SETTIME, 0 /* CLOCK_REALTIME */, &clock_at_launch);
    sys(__NR_sethostname, hostname, length_of(hostname));
    name_host();
    add_entropy();
    if (restored) {
        if (others_ran)
            renew_boot_id();
        renew_machine_id();
    }
    /* A template has brought the loopback interface up already. */
    if (network || !restored)
        configure_network();
    put_number(&rest, gid);
    put(&rest, ":hpcvm job:");
    put(&rest, home);
    put(&rest, ":/bin/sh");
    name_account("/etc/passwd", uid, user, rest.bytes);
    name_account("/etc/group", gid, user, "");
    make_folders(home);
    if (!same(home, "/") && !same(home, "/root"))
        sys(NR_CHOWN, home, uid, gid);
}

/* ---- mounts ---- */

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

/* ---- the job ---- */

struct stream {
    long from, to;       /* pipe and port; -1 when done with */
    char bytes[CHUNK];
    size_t start, end;   /* what was read and not yet written */
    uint64_t total;      /* bytes read from the job */
};
static struct stream standard_output, standard_error;

/* Standard input arrives in frames and leaves as it is. */
static struct {
    long from, to;
    char bytes[CHUNK];
    size_t start, end;
    uint32_t left;        /* bytes of the current frame still to come */
    uint8_t header[4];
    int header_length;
    int ended;
} standard_input;

struct wanted_port {
    const char *name;
    long fd;
};

/* Opens the port NAME if it is the wanted one. */
static long match_port(const char *port, void *context)
{
    struct wanted_port *wanted = context;
    struct text path = {.length = 0};
    char name[64];
    put(&path, "/sys/class/virtio-ports/");
    put(&path, port);
    put(&path, "/name");
    long n = read_file(path.bytes, name, sizeof name);
    if (n > 0 && name[n - 1] == '\n')
        name[n - 1] = 0;
    if (n <= 0 || !same(name, wanted->name))
        return 0;
    path.length = 0;
    put(&path, "/dev/");
    put(&path, port);
    wanted->fd = sys(__NR_open, path.bytes, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    return wanted->fd >= 0;
}

/* Waits for the port; its driver names ports some time after it was loaded. */
static long open_port(const char *name)
{
    struct wanted_port wanted = {name, -1};
    if (is_virtualbox())
        return open_serial(name);
    for (int waited = 0; waited < 5000; waited++) {
        if (each_entry("/sys/class/virtio-ports", match_port, &wanted))
            return wanted.fd;
        sleep_ms(1);
    }
    return -1;
}

/* What the child tells its parent when the job cannot be started. */
struct failure {
    int32_t step, error;
    char interpreter[INTERPRETER_SIZE]; /* the one that is missing, if that is the reason */
};

/* Executes PROGRAM; where the kernel finds nothing, finds out whether an interpreter is missing. */
static long execute_one(const char *program, struct failure *failure)
{
    long error = sys(__NR_execve, program, arguments, variables);
    if (error == -ENOENT && !failure->interpreter[0] && !missing_interpreter(program, failure->interpreter))
        failure->interpreter[0] = 0;
    return error;
}

/* Tries PROGRAM in each folder of the job's PATH as execvp does; returns the errno to report. */
static long execute(struct failure *failure)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin";
    long worst = -ENOENT;
    for (int i = 0; i < variable_count; i++)
        if (starts_with(variables[i], "PATH="))
            path = variables[i] + 5;
    for (const char *p = arguments[0]; *p; p++)
        if (*p == '/')
            return execute_one(arguments[0], failure);
    while (*path) {
        struct text candidate = {.length = 0};
        char one[2] = {0, 0};
        for (; *path && *path != ':'; path++) {
            one[0] = *path;
            put(&candidate, one);
        }
        if (*path)
            path++;
        put(&candidate, candidate.length ? "/" : "./");
        put(&candidate, arguments[0]);
        long error = execute_one(candidate.bytes, failure);
        if (error != -ENOENT && error != -20 /* ENOTDIR */)
            worst = error;
    }
    return worst;
}

/* In the child: becomes the job, or tells PARENT which step failed. */
/* Shares our memory until the job's program takes its place: not inlined, so that it has a stack frame of its own. */
__attribute__((noreturn, noinline)) static void become_job(const struct pipes *pipes, long parent)
{
    static struct failure failure;
    take_streams(pipes);
    long error = sys(NR_SETGROUPS, group_count, groups);
    if (error >= 0)
        error = sys(NR_SETGID, gid);
    if (error >= 0)
        error = sys(NR_SETUID, uid);
    sys(__NR_umask, mask);
    if (error >= 0) {
        failure.step = 1;
        error = sys(__NR_chdir, folder);
    }
    if (error >= 0) {
        failure.step = 2;
        error = execute(&failure);
    }
    failure.error = (int32_t)-error;
    write_all(parent, &failure, sizeof failure);
    sys(__NR_exit, 127);
    for (;;)
        ;
}

static void close_all(long *fd)
{
    if (*fd >= 0)
        sys(__NR_close, *fd);
    *fd = -1;
}

/* Joins our ends of the job's pipes to the ports. */
static void join_pipes(const struct pipes *pipes)
{
    standard_input.to = pipes->in[1];
    standard_output.from = pipes->out[0];
    standard_error.from = pipes->err[0];
    sys(__NR_fcntl, pipes->in[1], F_SETFL, O_NONBLOCK);
    sys(__NR_fcntl, pipes->out[0], F_SETFL, O_NONBLOCK);
    sys(__NR_fcntl, pipes->err[0], F_SETFL, O_NONBLOCK);
}

/* Whether the job's command is the interpreter that waits: by its path, or found first on the job's PATH. */
static int is_preloaded(void)
{
    const char *path = "";
    if (preload.process <= 0)
        return 0;
    if (same(arguments[0], preload.path))
        return 1;
    for (const char *p = arguments[0]; *p; p++)
        if (*p == '/')
            return 0;
    for (int i = 0; i < variable_count; i++)
        if (starts_with(variables[i], "PATH="))
            path = variables[i] + 5;
    while (*path) {
        struct text candidate = {.length = 0};
        char one[2] = {0, 0};
        for (; *path && *path != ':'; path++) {
            one[0] = *path;
            put(&candidate, one);
        }
        if (*path)
            path++;
        put(&candidate, "/");
        put(&candidate, arguments[0]);
        if (sys(__NR_access, candidate.bytes, 0) == 0)
            return same(candidate.bytes, preload.path);
    }
    return 0;
}

static void put_strings(long fd, char *const strings[], int count)
{
    for (int i = 0; i < count; i++)
        write_all(fd, strings[i], length_of(strings[i]) + 1);
}

/*
 * Lets the interpreter that waits become the job; returns its process id, or 0 when it is another
 * program's job or the interpreter would rather not.
 */
static long hand_over(void)
{
    if (!is_preloaded()) {
        drop_preload();
        return 0;
    }
    long to = preload.request[1];
    uint32_t head[6] = {uid, gid, mask, (uint32_t)group_count, (uint32_t)argument_count, (uint32_t)variable_count};
    write_all(to, head, sizeof head);
    write_all(to, groups, 4 * (size_t)group_count);
    write_all(to, folder, length_of(folder) + 1);
    put_strings(to, arguments, argument_count);
    put_strings(to, variables, variable_count);
    /* It says that it can before it does: a job that we give up here is not begun. */
    if (!preload_says('y')) {
        drop_preload();
        return 0;
    }
    give_pipes(&preload.pipes, uid, gid);
    write_all(to, "g", 1);
    sys(__NR_close, to);
    sys(__NR_close, preload.answer[0]);
    join_pipes(&preload.pipes);
    return preload.process;
}

/* Starts the job; returns its process id, or a negative errno with the rest in *FAILURE. */
static long start_job(struct failure *failed)
{
    struct pipes pipes;
    int failure[2];
    long preloaded = hand_over();
    if (preloaded > 0)
        return preloaded;
    make_pipes(&pipes);
    give_pipes(&pipes, uid, gid);
    sys(__NR_pipe2, failure, O_CLOEXEC);
    long child = fork_in_place();
    if (child == 0)
        become_job(&pipes, failure[1]);
    close_job_ends(&pipes);
    sys(__NR_close, failure[1]);
    join_pipes(&pipes);
    long got = sys(__NR_read, failure[0], failed, sizeof *failed);
    sys(__NR_close, failure[0]);
    if (got == sizeof *failed) {
        sys(__NR_wait4, child, 0, 0, 0);
        return -failed->error;
    }
    return child;
}

/* Moves bytes from the job to the host; both ends are non-blocking. */
static void pump_out(struct stream *s)
{
    if (s->from >= 0 && s->start == s->end) {
        long n = sys(__NR_read, s->from, s->bytes, CHUNK);
        if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
            close_all(&s->from);
        s->start = 0;
        s->end = n > 0 ? (size_t)n : 0;
        s->total += s->end;
    }
    while (s->to >= 0 && s->start < s->end) {
        long n = sys(__NR_write, s->to, s->bytes + s->start, s->end - s->start);
        if (n > 0)
            s->start += (size_t)n;
        else if (n == -EAGAIN)
            break;
        else if (n != -EINTR)
            close_all(&s->to); /* the host is gone: nothing can be saved */
    }
    if (s->to < 0)
        s->start = s->end;
}

/*
 * A serial port loses what nobody reads in time. So the host sends a frame, short enough to wait in the terminal's
 * queue, only when it is asked for one.
 */
static void ask_for_input(void)
{
    static const struct text more = {.length = 5, .bytes = "more\n"};
    static int asked;
    int is_between_frames = !standard_input.left && !standard_input.header_length;
    if (is_between_frames && !asked && is_virtualbox())
        tell(&more);
    asked = is_between_frames;
}

/* Takes one frame header or a piece of a frame from the host. */
static void read_input(void)
{
    long n;
    ask_for_input();
    if (standard_input.left == 0) {
        n = sys(__NR_read, standard_input.from, standard_input.header + standard_input.header_length,
                4 - standard_input.header_length);
        if (n > 0 && (standard_input.header_length += (int)n) == 4) {
            memcpy(&standard_input.left, standard_input.header, 4);
            standard_input.header_length = 0;
            standard_input.ended = standard_input.left == 0;
        }
        else if (n == 0)
            standard_input.ended = 1; /* the host hung up */
        return;
    }
    size_t room = standard_input.left < CHUNK ? standard_input.left : CHUNK;
    n = sys(__NR_read, standard_input.from, standard_input.bytes, room);
    if (n > 0) {
        standard_input.start = 0;
        standard_input.end = (size_t)n;
        standard_input.left -= (uint32_t)n;
    }
}

/* Moves bytes from the host to the job, and the end of file after the last. */
static void pump_in(void)
{
    if (standard_input.start == standard_input.end && !standard_input.ended)
        read_input();
    while (standard_input.to >= 0 && standard_input.start < standard_input.end) {
        long n = sys(__NR_write, standard_input.to, standard_input.bytes + standard_input.start,
                     standard_input.end - standard_input.start);
        if (n > 0)
            standard_input.start += (size_t)n;
        else if (n == -EAGAIN)
            break;
        else if (n != -EINTR)
            close_all(&standard_input.to); /* the job closed it: what comes is thrown away */
    }
    if (standard_input.to < 0)
        standard_input.start = standard_input.end;
    if (standard_input.ended && standard_input.start == standard_input.end)
        close_all(&standard_input.to);
}

/* ---- orders from the host ---- */

/* Opens the ports of the job's streams, unless a template has done that already. */
static void open_streams(void)
{
    if (standard_error.to >= 0)
        return;
    standard_input.from = open_port("hpcvm.stdin");
    standard_output.to = open_port("hpcvm.stdout");
    standard_error.to = open_port("hpcvm.stderr");
}

static long job;
static int stop_asked, acknowledged, go;
static uint64_t kill_at;

static uint32_t decimal(const char *s)
{
    uint32_t n = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (uint32_t)(*s - '0');
    return n;
}

static void obey(const char *order)
{
    if (starts_with(order, "stop ")) {
        stop_asked = 1;
        kill_at = uptime_ns() + (uint64_t)decimal(order + 5) * 1000000u;
        if (job > 0) {
            sys(__NR_kill, -job, SIGTERM);
            sys(__NR_kill, -job, SIGCONT); /* a stopped job could not hear */
        }
    } else if (starts_with(order, "closed 1")) {
        close_all(&standard_output.from);
        standard_output.start = standard_output.end;
    } else if (starts_with(order, "closed 2")) {
        close_all(&standard_error.from);
        standard_error.start = standard_error.end;
    } else if (starts_with(order, "ack")) {
        acknowledged = 1;
    } else if (starts_with(order, "go")) {
        go = 1;
    }
}

static void read_orders(void)
{
    char bytes[256];
    long n = sys(__NR_read, control, bytes, sizeof bytes);
    for (long i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            char one[2] = {bytes[i], 0};
            put(&control_line, one);
            continue;
        }
        obey(control_line.bytes);
        control_line.length = 0;
        control_line.bytes[0] = 0;
    }
}

/* ---- supervision ---- */

/* Waits until something can move, at most until the grace time ends. */
static void wait_for_work(long child_signals)
{
    struct pollfd fds[8];
    int n = 0, timeout = -1;
#define WATCH(f, e) do { if ((f) >= 0) fds[n++] = (struct pollfd){(int)(f), (e), 0}; } while (0)
    WATCH(control, POLLIN);
    WATCH(child_signals, POLLIN);
    struct stream *streams[2] = {&standard_output, &standard_error};
    for (int i = 0; i < 2; i++) {
        if (streams[i]->start < streams[i]->end)
            WATCH(streams[i]->to, POLLOUT);
        else
            WATCH(streams[i]->from, POLLIN);
    }
    if (standard_input.start < standard_input.end)
        WATCH(standard_input.to, POLLOUT);
    else if (!standard_input.ended)
        WATCH(standard_input.from, POLLIN);
    if (kill_at) {
        uint64_t now = uptime_ns();
        timeout = kill_at <= now ? 0 : kill_at - now > 1000000000u ? 1000 : (int)((uint32_t)(kill_at - now) / 1000000u) + 1;
    }
    sys(__NR_poll, fds, n, timeout);
    for (int i = 0; i < n; i++)
        if (fds[i].fd == (int)control && fds[i].revents & POLLIN)
            read_orders();
}

/* Reaps every child; returns 1 with the job's wait status when the job was among them. */
static int reap(long child_signals, int *status)
{
    char information[128];
    int ended = 0, one;
    long pid;
    sys(__NR_read, child_signals, information, sizeof information);
    while ((pid = sys(__NR_wait4, -1, &one, WNOHANG, 0)) > 0)
        if (pid == job) {
            *status = one;
            ended = 1;
        }
    return ended;
}

/*
 * Runs until the job has ended and all it wrote has been passed on. What the job left running
 * in the background is killed with it, as a batch system does; only then can no one hold its
 * streams open.
 */
static int supervise(void)
{
    uint64_t child_mask = 1ull << (SIGCHLD - 1);
    long child_signals = sys(__NR_signalfd4, -1, &child_mask, 8, O_NONBLOCK | O_CLOEXEC);
    uint64_t give_up_at = 0;
    int status = 0, ended = 0, killed = 0;
    while (!ended || standard_output.from >= 0 || standard_error.from >= 0 ||
           standard_output.start < standard_output.end || standard_error.start < standard_error.end) {
        if (reap(child_signals, &status))
            ended = 1;
        if ((ended && !killed) || (kill_at && uptime_ns() >= kill_at)) {
            sys(__NR_kill, is_service ? -job : -1, SIGKILL);
            killed = ended;
            kill_at = 0;
            /* A service's daemon may have left the job's process group: do not wait for its streams. */
            if (killed && is_service)
                kill_at = give_up_at = uptime_ns() + 500000000u;
        }
        if (give_up_at && uptime_ns() >= give_up_at) {
            close_all(&standard_output.from);
            close_all(&standard_error.from);
        }
        pump_out(&standard_output);
        pump_out(&standard_error);
        pump_in();
        if (!ended || standard_output.from >= 0 || standard_error.from >= 0 ||
            standard_output.start < standard_output.end || standard_error.start < standard_error.end)
            wait_for_work(child_signals);
    }
    sys(__NR_close, child_signals);
    return status;
}

/* Runs a guest program as root with its standard input or output at a place of a disk. */
static int run_tar(char *const argv[], long disk, uint32_t offset, int as_input)
{
    int status = 0;
    sys(__NR_lseek, disk, offset, SEEK_SET);
    long child = sys(__NR_fork);
    if (child == 0) {
        static char *const envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", 0};
        uint64_t no_signals = 0;
        sys(__NR_rt_sigprocmask, 2, &no_signals, 0, 8);
        sys(__NR_dup2, disk, as_input ? 0 : 1);
        if (!as_input) {
            sys(__NR_chdir, folder);
            sys(NR_SETGROUPS, group_count, groups);
            sys(NR_SETGID, gid);
            sys(NR_SETUID, uid);
        }
        sys(__NR_execve, "/bin/tar", argv, envp);
        sys(__NR_exit, 127);
    }
    if (child < 0 || sys(__NR_wait4, child, &status, 0, 0) < 0)
        return 127;
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

static int pack_outputs(void)
{
    static char *argv[264] = {"tar", "--create", "--numeric-owner", "--ignore-failed-read", "--"};
    int n = 5;
    if (!output_count)
        return 0;
    for (int i = 0; i < output_count; i++)
        argv[n++] = outputs[i];
    argv[n] = 0;
    return run_tar(argv, result_disk, RESULT_TAR_OFFSET, 0);
}

static void write_result(uint32_t state, uint32_t value, uint32_t packed)
{
    struct result_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, RESULT_MAGIC, 8);
    header.version = FORMAT_VERSION;
    header.state = state;
    header.value = value;
    header.outputs = packed;
    header.stdout_bytes = standard_output.total;
    header.stderr_bytes = standard_error.total;
    if (result_disk < 0)
        return;
    sys(__NR_lseek, result_disk, 0, SEEK_SET);
    write_all(result_disk, &header, sizeof header);
    sys(__NR_fsync, result_disk);
}

/* Tells the host how it ended, waits until the host has everything, and powers off. */
__attribute__((noreturn)) static void finish(const char *how, uint32_t state, uint32_t value, uint32_t packed)
{
    struct text t = {.length = 0};
    write_result(state, value, packed);
    put(&t, how);
    put(&t, " ");
    put_number(&t, uptime_ns());
    put(&t, " ");
    put_number(&t, value);
    put(&t, " ");
    put_number(&t, standard_output.total);
    put(&t, " ");
    put_number(&t, standard_error.total);
    put(&t, " ");
    put_number(&t, packed);
    put(&t, "\n");
    tell(&t);
    while (control >= 0 && !acknowledged) {
        struct pollfd wait = {(int)control, POLLIN, 0};
        /* For as long as it takes: whoever reads the output may be slow, and the VM dies with its launcher. */
        long ready = sys(__NR_poll, &wait, 1, -1);
        if (ready > 0 && wait.revents & POLLIN)
            read_orders();
        else if (ready != -EINTR)
            break;
    }
    power_off();
}

__attribute__((noreturn)) static void refuse(const char *what, const char *name, long error)
{
    complain(what, name, error);
    struct text t = {.length = 0};
    put(&t, "problem ");
    put(&t, what);
    put(&t, " ");
    put(&t, name);
    put(&t, "\n");
    tell(&t);
    finish("refused", 3, (uint32_t)-error, 0);
}

/*
 * Takes what the host has said before the job starts. A restored guest waits for its word: a host
 * that has given it up in the meantime starts the job elsewhere, and it must not run twice.
 */
static void take_early_orders(void)
{
    struct pollfd orders = {(int)control, POLLIN, 0};
    int patience = restored ? -1 : 0;
    while (sys(__NR_poll, &orders, 1, go || stop_asked ? 0 : patience) > 0) {
        if (!(orders.revents & POLLIN))
            power_off();
        read_orders();
    }
}

/* Runs a shell command whose words nobody needs, so that what it needs is in memory. */
static void touch(const char *command)
{
    long child = sys(__NR_fork);
    if (child == 0) {
        char *const argv[] = {"/bin/sh", "-c", (char *)command, 0};
        uint64_t no_signals = 0;
        long null = sys(__NR_open, "/dev/null", O_RDWR, 0);
        sys(__NR_rt_sigprocmask, 2, &no_signals, 0, 8);
        for (int fd = 0; fd < 3; fd++)
            sys(__NR_dup2, null, fd);
        sys(__NR_execve, argv[0], argv, variables);
        sys(__NR_exit, 127);
    }
    if (child > 0)
        sys(__NR_wait4, child, 0, 0, 0);
}

/* Starts the interpreter that is to wait for the job; one that cannot is no reason not to save the guest. */
static void preload_interpreter(void)
{
    struct text t = {.length = 0};
    char problem[400] = "";
    if (!preload_words || start_preload(preload_words, preload_length, variables, problem, sizeof problem))
        return;
    put(&t, preload_words);
    put(&t, " cannot be preloaded: ");
    put(&t, problem[0] ? problem : "it does not start");
    tell_text("problem ", t.bytes);
}

/*
 * Opens for writing what every job has written to: an overlay then copies the file, which takes
 * longer than to write it.
 */
static void copy_up(void)
{
    static const char *const files[] = {"/etc/passwd", "/etc/group", "/etc/hosts"};
    for (int i = 0; i < 3; i++)
        sys(__NR_close, sys(__NR_open, files[i], O_WRONLY | O_APPEND | O_CLOEXEC, 0));
}

/*
 * Gets ready to be saved, and returns in each guest that was restored from what was saved. Nothing
 * of any job is in memory until then.
 */
static void serve_as_template(void)
{
    long error = 0;
    const char *problem = read_job();
    if (problem)
        refuse(problem, "", 0);
    add_entropy();
    configure_network();
    open_streams();
    /* A disk is the same in every copy; a folder of the host could not be saved. */
    if (libraries.kind == LIBRARIES_DISK && (problem = mount_libraries(&error)))
        refuse("cannot mount the shared libraries:", problem, error);
    copy_up();
    for (int i = 0; i < touch_count; i++)
        touch(touches[i]);
    preload_interpreter();
    others_ran |= is_service;
    keep_open();
    sys(__NR_sync);
    tell_event("waiting", "");
    while (is_template(job_disk))
        sleep_ms(1);
    restored = 1;
    tell_event("resumed", "");
    seed = 0;
    seed_length = 0;
    variable_count = 0;
}

static void prepare(void)
{
    long error = 0;
    const char *problem;
    if (!is_service)
        mount_kernel_file_systems();
    long fd = sys(__NR_open, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
    write_all(fd, "-1000", 5);
    sys(__NR_close, fd);
    control = open_port("hpcvm.control");
    struct text began = {.length = 0};
    if (init_began) {
        put(&began, " init ");
        put(&began, init_began);
    }
    tell_event("ready", began.bytes);
    if ((problem = find_disks()))
        refuse(problem, "", 0);
    if (is_template(job_disk))
        serve_as_template();
    if ((problem = read_job()))
        refuse(problem, "", 0);
    take_identity();
    if (libraries.kind && !libraries_mounted && (problem = mount_libraries(&error)))
        refuse("cannot mount the shared libraries:", problem, error);
    if ((problem = mount_shares(&error)))
        refuse("cannot mount the shared folder", problem, error);
    if (scratch && each_entry("/sys/class/block", mount_if_scratch, 0) != 1)
        refuse("cannot mount the scratch disk at", scratch, 0);
    if (has_input) {
        forget_if_restored(job_disk);
        static char *const argv[] = {"tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory=/", 0};
        int status = run_tar(argv, job_disk, input_offset, 1);
        if (status)
            refuse("the guest's tar could not unpack the input files:", "see the console", -status);
    }
}

__attribute__((noreturn, used)) static void start(long *stack)
{
    uint64_t child_mask = 1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1);
    static struct failure failure;
    char **words = (char **)(stack + 1);
    is_service = stack[0] > 1 && same(words[1], "--service");
    for (char **variable = words + stack[0] + 1; *variable; variable++)
        if (starts_with(*variable, "HPCVM_INIT="))
            init_began = *variable + 11;
    sys(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, &child_mask, 0, 8);
    standard_input.to = standard_output.from = standard_error.from = -1;
    standard_input.from = standard_output.to = standard_error.to = -1;
    prepare();
    open_streams();
    take_early_orders();
    if (stop_asked)
        finish("stopped", 3, 0, 0);
    job = start_job(&failure);
    if (job < 0) {
        static const char *const steps[] = {"noidentity", "nofolder", "nocommand"};
        if (failure.interpreter[0])
            tell_text("interpreter ", failure.interpreter);
        finish(steps[failure.step], 3, (uint32_t)-job, 0);
    }
    tell_event("started", "");
    int status = supervise();
    uint32_t packed = (uint32_t)pack_outputs();
    if (status & 0x7f)
        finish("signal", 2, status & 0x7f, packed);
    finish("exit", 1, status >> 8 & 0xff, packed);
}
