/*
 * An interpreter that a template has started: it has imported its modules, waits, and becomes the
 * job where the job's command is that interpreter (docs/job-protocol.md). Its program is
 * hpcvm's `guest/preload.py`.
 */
#ifndef HPCVM_PRELOAD_H
#define HPCVM_PRELOAD_H

#include "sys.h"

#define F_SETFD 2
/* It answers in a few milliseconds, or something is wrong with it. */
#define PRELOAD_PATIENCE 5000

/* The job's standard streams: pipes of which the job has one end, we the other. */
struct pipes {
    int in[2], out[2], err[2];
};

static struct {
    char path[256];        /* the interpreter's program */
    long process;          /* 0: none waits */
    int request[2], answer[2];
    struct pipes pipes;
} preload;

static void make_pipes(struct pipes *pipes)
{
    sys(__NR_pipe2, pipes->in, O_CLOEXEC);
    sys(__NR_pipe2, pipes->out, O_CLOEXEC);
    sys(__NR_pipe2, pipes->err, O_CLOEXEC);
    sys(__NR_fcntl, pipes->in[1], F_SETPIPE_SZ, 1 << 20);
    sys(__NR_fcntl, pipes->out[1], F_SETPIPE_SZ, 1 << 20);
}

/* The job may open its own streams by name, as /dev/stdout: a pipe belongs to who made it. */
static void give_pipes(const struct pipes *pipes, uint32_t uid, uint32_t gid)
{
    sys(NR_FCHOWN, pipes->in[1], uid, gid);
    sys(NR_FCHOWN, pipes->out[0], uid, gid);
    sys(NR_FCHOWN, pipes->err[0], uid, gid);
}

/* In the child: takes the job's ends of the pipes, a session and the signals of an ordinary process. */
static void take_streams(const struct pipes *pipes)
{
    uint64_t no_signals = 0;
    sys(__NR_setsid);
    sys(__NR_dup2, pipes->in[0], 0);
    sys(__NR_dup2, pipes->out[1], 1);
    sys(__NR_dup2, pipes->err[1], 2);
    long fd = sys(__NR_open, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
    write_all(fd, "0", 1);
    sys(__NR_close, fd);
    sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &no_signals, 0, 8);
}

static void close_job_ends(const struct pipes *pipes)
{
    sys(__NR_close, pipes->in[0]);
    sys(__NR_close, pipes->out[1]);
    sys(__NR_close, pipes->err[1]);
}

/*
 * Starts the interpreter with the words of a PRELOAD record: its path, its arguments. It gets two
 * more: the descriptors it reads requests from and answers on. PROBLEM gets what it says is wrong.
 */
static int start_preload(char *words, uint32_t length, char *const variables[], char *problem, size_t room)
{
    static char *argv[80];
    static char numbers[2][12];
    int count = 0;
    for (uint32_t at = 0; at < length && count < 77; at += (uint32_t)length_of(words + at) + 1)
        argv[count++] = words + at;
    if (!count || length_of(argv[0]) >= sizeof preload.path)
        return 0;
    memcpy(preload.path, argv[0], length_of(argv[0]) + 1);
    make_pipes(&preload.pipes);
    sys(__NR_pipe2, preload.request, O_CLOEXEC);
    sys(__NR_pipe2, preload.answer, O_CLOEXEC);
    int ends[2] = {preload.request[0], preload.answer[1]};
    for (int i = 0; i < 2; i++) {
        struct text t = {.length = 0};
        put_number(&t, (uint64_t)ends[i]);
        memcpy(numbers[i], t.bytes, t.length + 1);
        argv[count++] = numbers[i];
    }
    argv[count] = 0;
    preload.process = sys(__NR_fork);
    if (preload.process == 0) {
        take_streams(&preload.pipes);
        for (int i = 0; i < 2; i++)
            sys(__NR_fcntl, ends[i], F_SETFD, 0);
        sys(__NR_execve, argv[0], argv, variables);
        sys(__NR_exit, 127);
    }
    close_job_ends(&preload.pipes);
    sys(__NR_close, ends[0]);
    sys(__NR_close, ends[1]);
    size_t told = 0;
    long got;
    /* "r" and no more when it is ready; else what is wrong, and the end. */
    while (told < room - 1 && (got = sys(__NR_read, preload.answer[0], problem + told, room - 1 - told)) != 0) {
        if (got > 0)
            told += (size_t)got;
        else if (got != -EINTR)
            break;
        if (told == 1 && problem[0] == 'r')
            return 1;
    }
    problem[told] = 0;
    sys(__NR_kill, preload.process, SIGKILL);
    sys(__NR_wait4, preload.process, 0, 0, 0);
    preload.process = 0;
    return 0;
}

/* Ends the interpreter. Who reaps children meets it later. */
static void drop_preload(void)
{
    if (preload.process <= 0)
        return;
    sys(__NR_kill, preload.process, SIGKILL);
    preload.process = 0;
    sys(__NR_close, preload.request[1]);
    sys(__NR_close, preload.answer[0]);
    sys(__NR_close, preload.pipes.in[1]);
    sys(__NR_close, preload.pipes.out[0]);
    sys(__NR_close, preload.pipes.err[0]);
}

/* Whether it says BYTE next, in time. */
static int preload_says(char byte)
{
    struct pollfd answer = {preload.answer[0], POLLIN, 0};
    char said = 0;
    return sys(__NR_poll, &answer, 1, PRELOAD_PATIENCE) == 1 && sys(__NR_read, preload.answer[0], &said, 1) == 1 &&
           said == byte;
}

#endif
