/*
 * The job's standard streams: pipes of which the job has one end, we the other.
 */
#ifndef HPCVM_PIPES_H
#define HPCVM_PIPES_H

#include "sys.h"

struct pipes {
    int in[2], out[2], err[2];
    uint32_t uid, gid; /* whose they are; at first they are root's, who makes them */
};

static void make_pipes(struct pipes *pipes)
{
    sys(__NR_pipe2, pipes->in, O_CLOEXEC);
    sys(__NR_pipe2, pipes->out, O_CLOEXEC);
    sys(__NR_pipe2, pipes->err, O_CLOEXEC);
    sys(__NR_fcntl, pipes->in[1], F_SETPIPE_SZ, 1 << 20);
    sys(__NR_fcntl, pipes->out[1], F_SETPIPE_SZ, 1 << 20);
}

/* The job may open its own streams by name, as /dev/stdout: a pipe belongs to who made it. */
static void give_pipes(struct pipes *pipes, uint32_t uid, uint32_t gid)
{
    if (pipes->uid == uid && pipes->gid == gid)
        return;
    pipes->uid = uid;
    pipes->gid = gid;
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

#endif
