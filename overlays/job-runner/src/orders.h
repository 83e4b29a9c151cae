/*
 * What the launcher orders on the control port.
 */
#ifndef HPCVM_ORDERS_H
#define HPCVM_ORDERS_H

#include "streams.h"

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

#endif
