/*
 * The job's standard streams: ports on the host's side, pipes on the job's.
 */
#ifndef HPCVM_STREAMS_H
#define HPCVM_STREAMS_H

#include "records.h"
#include "pipes.h"

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

static void close_all(long *fd)
{
    if (*fd >= 0)
        sys(__NR_close, *fd);
    *fd = -1;
}

static struct pipes job_pipes;

/* Makes the job's pipes, once, and joins our ends of them to the ports. */
static void open_pipes(void)
{
    if (standard_input.to >= 0)
        return;
    make_pipes(&job_pipes);
    standard_input.to = job_pipes.in[1];
    standard_output.from = job_pipes.out[0];
    standard_error.from = job_pipes.err[0];
    sys(__NR_fcntl, standard_input.to, F_SETFL, O_NONBLOCK);
    sys(__NR_fcntl, standard_output.from, F_SETFL, O_NONBLOCK);
    sys(__NR_fcntl, standard_error.from, F_SETFL, O_NONBLOCK);
}

/* Puts what was read on the result disk. A job whose output does not fit there may write no more. */
static void put_on_disk(struct stream *s)
{
    if (!spool_out(s == &standard_error, s->bytes, s->end)) {
        tell_text("problem ", s == &standard_error ? "standard error does not fit on the result disk"
                                                   : "standard output does not fit on the result disk");
        close_all(&s->from);
        s->total -= s->end;
    }
    s->start = s->end;
}

/* Moves bytes from the job to the host; both ends are non-blocking. */
static void pump_out(struct stream *s)
{
    if (s->from >= 0 && s->start == s->end) {
        int to_disk = is_spooled(s->total);
        long n = sys(__NR_read, s->from, s->bytes, spool_piece(s->total, CHUNK));
        if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
            close_all(&s->from);
        s->start = 0;
        s->end = n > 0 ? (size_t)n : 0;
        s->total += s->end;
        if (to_disk && s->end)
            put_on_disk(s);
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

#endif
