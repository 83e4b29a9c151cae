/*
 * The job's standard streams and its start: ports, pipes, identity, execution.
 */
#ifndef HPCVM_STREAMS_H
#define HPCVM_STREAMS_H

#include "records.h"
#include "interpreter.h"
#include "preload.h"

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

/* The job's program in the next folder of *PATH, which moves on; an empty name is the working directory, as for execvp. */
static void next_candidate(const char **path, struct text *candidate)
{
    char one[2] = {0, 0};
    for (; **path && **path != ':'; (*path)++) {
        one[0] = **path;
        put(candidate, one);
    }
    if (**path)
        (*path)++;
    put(candidate, candidate->length ? "/" : "./");
    put(candidate, arguments[0]);
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
        next_candidate(&path, &candidate);
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
        next_candidate(&path, &candidate);
        /* What this is shows in the job's folder only, where an ordinary start looks. */
        if (candidate.bytes[0] != '/')
            return 0;
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
