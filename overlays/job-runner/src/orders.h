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
static int job_announced; /* to a restored guest */
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
    } else if (starts_with(order, "disk")) {
        job_announced = 1;
    }
}

/* A job's description that comes as a line: \ and the end of a line are written as \\ and \n. */
static struct {
    int is_coming, is_escaped, is_too_long;
    uint32_t length;
} job_line;

static void take_job_byte(char byte)
{
    if (byte == '\n') {
        job_line.is_coming = 0;
        job_length = job_line.is_too_long ? 0 : job_line.length;
        job_announced = 1;
        return;
    }
    if (byte == '\\' && !job_line.is_escaped) {
        job_line.is_escaped = 1;
        return;
    }
    if (job_line.is_escaped && byte == 'n')
        byte = '\n';
    job_line.is_escaped = 0;
    if (job_line.length < MAX_BODY)
        body[job_line.length++] = byte;
    else
        job_line.is_too_long = 1;
}

static void take_order_byte(char byte)
{
    char one[2] = {byte, 0};
    if (byte != '\n') {
        put(&control_line, one);
        if (control_line.length == 4 && same(control_line.bytes, "job "))
            job_line.is_coming = 1;
        return;
    }
    obey(control_line.bytes);
}

static void read_orders(void)
{
    static char bytes[4096];
    long n = sys(__NR_read, control, bytes, sizeof bytes);
    for (long i = 0; i < n; i++) {
        if (job_line.is_coming)
            take_job_byte(bytes[i]);
        else
            take_order_byte(bytes[i]);
        if (bytes[i] == '\n') {
            control_line.length = 0;
            control_line.bytes[0] = 0;
        }
    }
}

#endif
