/*
 * Whose machine this is: clock, name, random numbers, network, accounts.
 */
#ifndef HPCVM_IDENTITY_H
#define HPCVM_IDENTITY_H

#include "records.h"
#include "virtualbox.h"

#define RNDADDENTROPY 0x40085203
#define RNDRESEEDCRNG 0x5207
#define SIOCSIFFLAGS 0x8914
#define SIOCSIFADDR 0x8916
#define SIOCSIFNETMASK 0x891c
#define SIOCSIFHWADDR 0x8924
#define SIOCADDRT 0x890b

/* The kernel's generator, which stays open. */
static long generator = -1;

static void add_entropy(void)
{
    struct { int32_t bits, bytes; uint8_t pool[512]; } entropy;
    uint32_t n = seed_length < sizeof entropy.pool ? seed_length : sizeof entropy.pool;
    if (generator < 0)
        generator = sys(__NR_open, "/dev/urandom", O_RDWR | O_CLOEXEC, 0);
    if (generator < 0 || !n)
        return;
    entropy.bits = (int32_t)(8 * n);
    entropy.bytes = (int32_t)n;
    memcpy(entropy.pool, seed, n);
    sys(__NR_ioctl, generator, RNDADDENTROPY, &entropy);
    /* A generator that is ready takes what it was given minutes later; until then it would give the
       same numbers to all guests that were restored from one template. */
    sys(__NR_ioctl, generator, RNDRESEEDCRNG, 0);
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
        /* VirtualBox' device keeps its own, and passes nothing on that is for another. */
        if (has_hardware_address && !is_virtualbox())
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
 * Whose job a template expects: host name and account are made before it is saved, and only another's take time then.
 */
static struct {
    int is_there;
    uint32_t uid, gid;
    char hostname[65], user[256], home[1024];
    long hosts_length; /* of /etc/hosts without that host's line */
} foreseen;

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

/*
 * Gives the caller's numeric id the job user's name. The new line comes first, so that it wins
 * over entries of that name or number which the image brought.
 */
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
    sys(__NR_sethostname, hostname, length_of(hostname));
    long fd = kept("/etc/hosts");
    if (fd < 0)
        fd = sys(__NR_open, "/etc/hosts", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    if (foreseen.is_there)
        sys(__NR_ftruncate, fd, foreseen.hosts_length);
    foreseen.hosts_length = sys(__NR_lseek, fd, 0, SEEK_END);
    write_all(fd, line.bytes, line.length);
    sys(__NR_close, fd);
}

/* Makes LINE a random identifier of RFC 4122 in hexadecimal, and an end of line; returns its length. */
static size_t make_identifier(char line[40], int dashes)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t id[16];
    size_t n = 0;
    if (sys(__NR_read, generator, id, sizeof id) != sizeof id)
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

static const char *const machine_id_files[] = {"/etc/machine-id", "/var/lib/dbus/machine-id"};
static int has_machine_id[2]; /* the template */

/*
 * A copy is another machine (machine-id(5)): the guest's own init gave the template an identifier.
 * Where systemd could not write the file it has mounted another over it, read-only.
 */
static void renew_machine_id(void)
{
    char line[40];
    size_t length = 0;
    long fd;
    for (int i = 0; i < 2; i++) {
        if (!has_machine_id[i] || !(length = length ? length : make_identifier(line, 0)))
            continue;
        fd = sys(__NR_open, machine_id_files[i], O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
        if (fd < 0 && sys(__NR_umount2, machine_id_files[i], MNT_DETACH) == 0)
            fd = sys(__NR_open, machine_id_files[i], O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0);
        if (fd >= 0)
            write_all(fd, line, length);
        sys(__NR_close, fd);
    }
}

/* Gives the job's user a name and a folder. */
static void name_user(void)
{
    struct text rest = {.length = 0};
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

static int keep_string(char *kept, size_t room, const char *string)
{
    if (length_of(string) >= room)
        return 0;
    memcpy(kept, string, length_of(string) + 1);
    return 1;
}

static void look_for_machine_id(void)
{
    char old[64];
    for (int i = 0; i < 2; i++)
        has_machine_id[i] = read_file(machine_id_files[i], old, sizeof old) >= 32;
}

/* In a template: makes the host and the account that its disk foresees. */
static void foresee(void)
{
    if (!has_user)
        return;
    name_host();
    name_user();
    foreseen.uid = uid;
    foreseen.gid = gid;
    foreseen.is_there = keep_string(foreseen.hostname, sizeof foreseen.hostname, hostname) &&
                        keep_string(foreseen.user, sizeof foreseen.user, user) &&
                        keep_string(foreseen.home, sizeof foreseen.home, home);
}

static int is_foreseen_user(void)
{
    return foreseen.is_there && uid == foreseen.uid && gid == foreseen.gid && same(user, foreseen.user) &&
           same(home, foreseen.home);
}

static void take_identity(void)
{
    if (clock_at_launch.seconds)
        sys(NR_CLOCK_SETTIME, 0 /* CLOCK_REALTIME */, &clock_at_launch);
    if (!foreseen.is_there || !same(hostname, foreseen.hostname))
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
    if (!is_foreseen_user())
        name_user();
}

#endif
