/*
 * The job's start: by a program that waits for it, or by execution.
 */
#ifndef HPCVM_START_H
#define HPCVM_START_H

#include "hand-over.h"
#include "interpreter.h"
#include "streams.h"

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
    const char *path = search_path();
    long worst = -ENOENT;
    if (is_path(arguments[0]))
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

/*
 * In the child: becomes the job, or tells PARENT which step failed. Shares our memory until the
 * job's program takes its place: not inlined, so that it has a stack frame of its own.
 */
__attribute__((noreturn, noinline)) static void become_job(const struct pipes *pipes, long parent)
{
    static struct failure failure;
    take_streams(pipes);
    give_precedence(0, PRECEDENCE_OF_THE_JOB);
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

/* Starts the job; returns its process id, or a negative errno with the rest in *FAILURE. */
static long start_job(struct failure *failed)
{
    int failure[2];
    open_pipes();
    give_pipes(&job_pipes, uid, gid);
    long child = hand_over();
    if (child > 0) {
        close_job_ends(&job_pipes);
        return child;
    }
    sys(__NR_pipe2, failure, O_CLOEXEC);
    child = fork_in_place();
    if (child == 0)
        become_job(&job_pipes, failure[1]);
    close_job_ends(&job_pipes);
    sys(__NR_close, failure[1]);
    long got = sys(__NR_read, failure[0], failed, sizeof *failed);
    sys(__NR_close, failure[0]);
    if (got == sizeof *failed) {
        sys(__NR_wait4, child, 0, 0, 0);
        return -failed->error;
    }
    return child;
}

#endif
