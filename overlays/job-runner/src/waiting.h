/*
 * Programs that a template has started and that wait for the job: interpreters that have imported
 * their modules, by a program of hpcvm's (`guest/preload.py`), and held programs (hold.h). One of
 * them becomes the job where the job's command is that program (docs/job-protocol.md).
 */
#ifndef HPCVM_WAITING_H
#define HPCVM_WAITING_H

#include "files.h"
#include "hold.h"
#include "pipes.h"

#define F_SETFD 2
#define MAX_WAITING 9
/* It answers in a few milliseconds, or something is wrong with it. */
#define WAITING_PATIENCE 5000

struct waiting {
    char path[256];   /* the program, as the template's disk names it */
    long process;     /* 0: it waits no more */
    int request[2], answer[2];
    int is_held;
    struct file_identity file;
};
static struct waiting waiting[MAX_WAITING];
static int waiting_count;

/* What programs and libraries read before a program's first instruction. */
static const char *const early_names[] = {"LD_", "GLIBC_", "MALLOC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "GOTO_",
                                          "MKL_", "BLIS_", "FLEXIBLAS", "SSL_", "OPENSSL_"};
static char early[4096]; /* the template's, one after the other */
static size_t early_length;
static int early_count;

static int is_early(const char *variable)
{
    for (size_t i = 0; i < sizeof early_names / sizeof *early_names; i++)
        if (starts_with(variable, early_names[i]))
            return 1;
    return 0;
}

/* Returns 0 where they are too long to be kept. */
static int keep_early(char *const variables[])
{
    for (early_length = early_count = 0; *variables; variables++) {
        size_t length = length_of(*variables) + 1;
        if (!is_early(*variables))
            continue;
        if (early_length + length > sizeof early)
            return 0;
        memcpy(early + early_length, *variables, length);
        early_length += length;
        early_count++;
    }
    return 1;
}

static int was_early(const char *variable)
{
    for (size_t at = 0; at < early_length; at += length_of(early + at) + 1)
        if (same(early + at, variable))
            return 1;
    return 0;
}

/* Whether the job's early variables are the template's. */
static int has_same_early(char *const variables[])
{
    int count = 0;
    for (; *variables; variables++)
        if (is_early(*variables)) {
            if (!was_early(*variables))
                return 0;
            count++;
        }
    return count == early_count;
}

/* Ends the program. Who reaps children meets it later. */
static void drop_one(struct waiting *one)
{
    if (one->process <= 0)
        return;
    sys(__NR_kill, one->process, SIGKILL);
    one->process = 0;
    sys(__NR_close, one->request[1]);
    sys(__NR_close, one->answer[0]);
}

static void drop_waiting(void)
{
    for (int i = 0; i < waiting_count; i++)
        drop_one(&waiting[i]);
    waiting_count = 0;
}

/*
 * Whether it takes the job. An interpreter says that it can before it does, in time: a job that we give up here is
 * not begun. What a held program does until then is no more than an ordinary start does.
 */
static int agrees(const struct waiting *one)
{
    struct pollfd answer = {one->answer[0], POLLIN, 0};
    char said = 0;
    if (!one->is_held && sys(__NR_poll, &answer, 1, WAITING_PATIENCE) != 1)
        return 0;
    if (sys(__NR_read, one->answer[0], &said, 1) != 1 || said != 'y')
        return 0;
    return one->is_held || write_all(one->request[1], "g", 1) == 0;
}

/* In the child, which shares our memory until then: becomes the program. */
__attribute__((noreturn, noinline)) static void execute_waiting(const struct waiting *one, const struct pipes *pipes,
                                                      char *const argv[], char *const variables[])
{
    take_streams(pipes);
    sys(__NR_fcntl, one->request[0], F_SETFD, 0);
    sys(__NR_fcntl, one->answer[1], F_SETFD, 0);
    if (one->is_held) {
        /* One that is not the job ends when there is nothing else to do. */
        sys(__NR_setpriority, 0, 0, 19);
        sys(__NR_ptrace, PTRACE_TRACEME, 0, 0, 0);
    }
    sys(__NR_execve, one->path, argv, variables);
    for (;;)
        sys(__NR_exit, 127);
}

static int hold_process(const struct waiting *one)
{
    struct traced traced = {.process = one->process};
    struct text memory = {.length = 0};
    put(&memory, "/proc/");
    put_number(&memory, (uint64_t)one->process);
    put(&memory, "/mem");
    /* The memory is the executed program's: not that of ours, from before. */
    if (!has_stopped(&traced) || (traced.memory = sys(__NR_open, memory.bytes, O_RDWR | O_CLOEXEC, 0)) < 0)
        return 0;
    int held = hold(&traced, one->request[0], one->answer[1]);
    sys(__NR_close, traced.memory);
    return held;
}

/* Reads "r" and no more when it is ready; else what is wrong, and the end. */
static int is_ready(const struct waiting *one, char *problem, size_t room)
{
    size_t told = 0;
    long got;
    while (told < room - 1 && (got = sys(__NR_read, one->answer[0], problem + told, room - 1 - told)) != 0) {
        if (got > 0)
            told += (size_t)got;
        else if (got != -EINTR)
            break;
        if (told == 1 && problem[0] == 'r')
            return 1;
    }
    problem[told] = 0;
    return 0;
}

/* Starts the program; PROBLEM gets what is wrong. */
static int start_one(struct waiting *one, const struct pipes *pipes, char *const argv[], char *const variables[],
                     char *problem, size_t room)
{
    static const char too_many[] = "it has more libraries than can be compared before each job";
    one->process = fork_in_place();
    if (one->process == 0)
        execute_waiting(one, pipes, argv, variables);
    sys(__NR_close, one->request[0]);
    sys(__NR_close, one->answer[1]);
    int ready = (!one->is_held || hold_process(one)) && is_ready(one, problem, room);
    if (ready && (!one->is_held || rely_on_mapped(one->process))) {
        waiting_count++;
        return 1;
    }
    /* What it said was that it is ready. */
    if (ready)
        memcpy(problem, too_many, sizeof too_many);
    long process = one->process;
    drop_one(one);
    sys(__NR_wait4, process, 0, 0, 0);
    return 0;
}

/* The next of them, with its pipes; 0 where there is no room, or no such program. */
static struct waiting *next_waiting(const char *path, int is_held)
{
    struct waiting *one = &waiting[waiting_count];
    if (waiting_count == MAX_WAITING || length_of(path) >= sizeof one->path || !identify(AT_FDCWD, path, &one->file))
        return 0;
    memcpy(one->path, path, length_of(path) + 1);
    one->is_held = is_held;
    sys(__NR_pipe2, one->request, O_CLOEXEC);
    sys(__NR_pipe2, one->answer, O_CLOEXEC);
    return one;
}

/*
 * Starts the interpreter with the words of a PRELOAD record: its path, its arguments. It gets two
 * more: the descriptors it reads requests from and answers on.
 */
static int start_interpreter(char *words, uint32_t length, const struct pipes *pipes, char *const variables[],
                             char *problem, size_t room)
{
    static char *argv[80];
    static char numbers[2][12];
    struct waiting *one = next_waiting(words, 0);
    int count = 0;
    for (uint32_t at = 0; at < length && count < 77; at += (uint32_t)length_of(words + at) + 1)
        argv[count++] = words + at;
    if (!one)
        return 0;
    int ends[2] = {one->request[0], one->answer[1]};
    for (int i = 0; i < 2; i++) {
        struct text t = {.length = 0};
        put_number(&t, (uint64_t)ends[i]);
        memcpy(numbers[i], t.bytes, t.length + 1);
        argv[count++] = numbers[i];
    }
    argv[count] = 0;
    return start_one(one, pipes, argv, variables, problem, room);
}

/*
 * Whether the process that executes PATH is the same whoever executes it: no script, whose interpreter
 * would not be told of it, no rights by its file, and everyone may read and execute it.
 */
static int can_be_held(const char *path)
{
    struct statx found;
    char magic[4];
    long fd = sys(__NR_open, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    int is_elf = read_at(fd, magic, sizeof magic, 0) == sizeof magic && same_bytes(magic, "\177ELF", 4);
    sys(__NR_close, fd);
    return is_elf && sys(__NR_statx, AT_FDCWD, path, 0, STATX_MODE, &found) >= 0 && !(found.stx_mode & 06000) &&
           (found.stx_mode & 05) == 05 && sys(__NR_getxattr, path, "security.capability", 0, 0) < 0;
}

/* Starts PROGRAM and holds it before its first instruction. */
static int start_held(char *program, const struct pipes *pipes, char *const variables[], char *problem, size_t room)
{
    static const char not_held[] = "it is no program that everyone may execute with no more rights than theirs";
    static char *environment[HELD_POINTERS];
    char *argv[] = {program, 0};
    int count = 0;
    if (!can_be_held(program)) {
        if (sys(__NR_access, program, 0) == 0)
            memcpy(problem, not_held, sizeof not_held);
        return 0;
    }
    if (!keep_early(variables) || !rely_on("/etc/ld.so.cache") || !rely_on("/etc/ld.so.preload"))
        return 0;
    struct waiting *one = next_waiting(program, 1);
    if (!one)
        return 0;
    for (const char *p = program; *p; p++)
        if (*p == '/')
            argv[0] = (char *)p + 1;
    for (; variables[count] && count < HELD_POINTERS - 3; count++)
        environment[count] = variables[count];
    /* Room for the job's. */
    for (; count < HELD_POINTERS - 3; count++)
        environment[count] = "";
    return start_one(one, pipes, argv, environment, problem, room);
}

#endif
