/*
 * System calls and their constants, without a C library: every call returns the kernel's value, a
 * negative errno on failure (man 2 syscalls). Nothing here stands outside its caller's code.
 */
#ifndef HPCVM_CALLS_H
#define HPCVM_CALLS_H

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__i386__)
static inline long sys6(long n, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}
/* vfork(2), always in its caller: the child goes on with the stack that its parent comes back to. */
static inline __attribute__((always_inline)) long fork_in_place(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(__NR_vfork) : "memory");
    return result;
}
#define NR_CHOWN __NR_chown32
#define NR_FCHOWN __NR_fchown32
#define NR_SETUID __NR_setuid32
#define NR_SETGID __NR_setgid32
#define NR_SETGROUPS __NR_setgroups32
#define NR_CLOCK_SETTIME __NR_clock_settime64
#define NR_CLOCK_GETTIME __NR_clock_gettime64
#elif defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}
static inline __attribute__((always_inline)) long fork_in_place(void)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(__NR_vfork) : "rcx", "r11", "memory");
    return result;
}
#define NR_CHOWN __NR_chown
#define NR_FCHOWN __NR_fchown
#define NR_SETUID __NR_setuid
#define NR_SETGID __NR_setgid
#define NR_SETGROUPS __NR_setgroups
#define NR_CLOCK_SETTIME __NR_clock_settime
#define NR_CLOCK_GETTIME __NR_clock_gettime
#else
#error "guests are i386 or amd64"
#endif

#define SYS_PICK(_0, _1, _2, _3, _4, _5, name, ...) name
#define sys(...) SYS_PICK(__VA_ARGS__, sys_5, sys_4, sys_3, sys_2, sys_1, sys_0)(__VA_ARGS__)
#define sys_0(n) sys6(n, 0, 0, 0, 0, 0)
#define sys_1(n, a) sys6(n, (long)(a), 0, 0, 0, 0)
#define sys_2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0)
#define sys_3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0)
#define sys_4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0)
#define sys_5(n, a, b, c, d, e) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* errno values (asm-generic/errno-base.h) */
#define ENOENT 2
#define EINTR 4
#define EAGAIN 11
#define EEXIST 17

/* open(2) */
#define O_RDONLY 00
#define O_WRONLY 01
#define O_RDWR 02
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define O_DIRECT 040000
#define O_DIRECTORY 0200000
#define O_NOFOLLOW 0400000
#define O_CLOEXEC 02000000

/* mount(2) */
#define MS_RDONLY 1
#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#define MS_BIND 4096
#define MS_MOVE 8192
#define MNT_DETACH 2

/* poll(2) */
#define POLLIN 1
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 16
struct pollfd { int fd; short events, revents; };

/* signal(7) */
#define SIGKILL 9
#define SIGTERM 15
#define SIGPIPE 13
#define SIGCHLD 17
#define SIGCONT 18

#define WNOHANG 1
#define F_SETFL 4
#define F_SETPIPE_SZ 1031
#define SEEK_SET 0
#define SEEK_END 2

/* sched_setscheduler(2) */
#define SCHED_OTHER 0
#define SCHED_FIFO 1
#define SCHED_RESET_ON_FORK 0x40000000

/* reboot(2) */
#define REBOOT_POWER_OFF 0x4321fedcL

#endif
