/*
 * What the job runner tells the launcher and the console, and the end of the machine.
 */
#ifndef HPCVM_REPORTS_H
#define HPCVM_REPORTS_H

#include "description.h"

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

#endif
