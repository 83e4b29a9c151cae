/*
 * Gives the job to a program that waits for it (waiting.h), where that is what the kernel would execute.
 */
#ifndef HPCVM_HAND_OVER_H
#define HPCVM_HAND_OVER_H

#include "interpreter.h"
#include "precedence.h"
#include "search.h"
#include "waiting.h"

/* What an execution of the job's command comes to. */
static struct {
    struct text path;                   /* as execve would be given it */
    struct file_identity file;
    char interpreter[INTERPRETER_SIZE]; /* of a script, and the one argument that its first line has for it */
    char option[256];
} command;

/* Takes what its first line says of a script's interpreter, as the kernel does (execve(2)); 0 where it is none. */
static int read_first_line(long at)
{
    uint8_t start[256];
    long fd = sys(__NR_openat, at, command.path.bytes, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    long n = read_at(fd, start, sizeof start, 0), end = 2, first, last;
    sys(__NR_close, fd);
    if (!script_interpreter(start, n, command.interpreter))
        return 0;
    while (end < n && start[end] != '\n')
        end++;
    /* The kernel has rules of its own for lines longer than this. */
    if (end == n || end >= 250)
        return 0;
    for (first = 2; start[first] == ' ' || start[first] == '\t';)
        first++;
    first += (long)length_of(command.interpreter);
    while (first < end && (start[first] == ' ' || start[first] == '\t'))
        first++;
    for (last = end; last > first && (start[last - 1] == ' ' || start[last - 1] == '\t');)
        last--;
    memcpy(command.option, start + first, (size_t)(last - first));
    command.option[last - first] = 0;
    return same_bytes(&command.interpreter[0], "/", 1) && identify(AT_FDCWD, command.interpreter, &command.file);
}

/* Finds the job's program; returns 0 where it is not plain to see which one it is. */
static int find_program(long at)
{
    const char *path = search_path();
    command.path.length = 0;
    if (is_path(arguments[0])) {
        put(&command.path, arguments[0]);
        return identify(at, command.path.bytes, &command.file);
    }
    while (*path) {
        command.path.length = 0;
        next_candidate(&path, &command.path);
        /* What this is shows in the job's folder only, where an ordinary start looks. */
        if (command.path.bytes[0] != '/')
            return 0;
        if (identify(AT_FDCWD, command.path.bytes, &command.file))
            return 1;
    }
    return 0;
}

/* Whether ONE waits for this command; an interpreter of hpcvm's goes by its name, for Python looks where that lies. */
static int waits_for_it(const struct waiting *one)
{
    const char *path = command.interpreter[0] ? command.interpreter : command.path.bytes;
    return one->process > 0 && (one->is_held ? is_same_file(&one->file, &command.file) : same(one->path, path));
}

static struct waiting *waiting_for_it(void)
{
    for (int i = 0; i < waiting_count; i++)
        if (waits_for_it(&waiting[i]))
            return &waiting[i];
    return 0;
}

/* The program that waits for the job's command, or for the interpreter of the script that it is. */
static struct waiting *find_waiting(void)
{
    struct waiting *one = 0;
    int is_relative = is_path(arguments[0]) && arguments[0][0] != '/';
    long at = is_relative ? sys(__NR_open, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : AT_FDCWD;
    command.interpreter[0] = command.option[0] = 0;
    if (find_program(at) && command.file.is_regular && command.path.length < sizeof command.path.bytes - 1) {
        one = waiting_for_it();
        if (!one && read_first_line(at))
            one = waiting_for_it();
    }
    if (at >= 0)
        sys(__NR_close, at);
    return one && (!one->is_held || (has_same_early(variables) && are_unchanged())) ? one : 0;
}

/* What is said to the program. */
static struct {
    char bytes[HELD_TEXT];
    size_t length;
} request;

static void put_bytes(const void *bytes, size_t n)
{
    if (n <= sizeof request.bytes - request.length)
        memcpy(request.bytes + request.length, bytes, n);
    request.length += n;
}

static void put_strings(const char *const strings[], int count)
{
    for (int i = 0; i < count && request.length <= sizeof request.bytes; i++)
        put_bytes(strings[i], length_of(strings[i]) + 1);
}

/* Whether all may search the folder: what may be held there (can_be_held) all may execute. */
static int is_everyones(const char *path)
{
    const char *name = starts_with(path, "/usr/bin/") ? path + 9 : starts_with(path, "/bin/") ? path + 5 : "/";
    return !is_path(name);
}

/* Returns 0 where the job's arguments and environment are too long. */
static int write_request(const struct waiting *one)
{
    const char *before[3] = {command.interpreter, command.option, command.path.bytes};
    /* A script's name takes the place of its first word. */
    int of_script = command.interpreter[0] ? 3 : 0, words = argument_count;
    if (of_script && !command.option[0])
        before[1] = before[--of_script];
    words += of_script ? of_script - 1 : 0;
    struct request head = {uid, gid, mask, (uint32_t)group_count, (uint32_t)words, (uint32_t)variable_count,
                           of_script || !is_everyones(command.path.bytes)};
    const char *places[2] = {folder, command.path.bytes};
    request.length = 0;
    put_bytes(&head, one->is_held ? sizeof head : COMMON_REQUEST);
    put_bytes(groups, 4 * (size_t)group_count);
    put_strings(places, one->is_held ? 2 : 1);
    put_strings(before, of_script);
    put_strings((const char *const *)arguments + (of_script != 0), argument_count - (of_script != 0));
    put_strings((const char *const *)variables, variable_count);
    return request.length <= sizeof request.bytes;
}

/*
 * Lets a program that waits become the job; returns its process id, or 0 when none waits for this
 * command or the one that does would rather not.
 */
static long hand_over(void)
{
    struct waiting *one = waiting_count ? find_waiting() : 0;
    if (!one || !write_request(one))
        return 0;
    long process = one->process;
    if (one->is_held)
        sys(__NR_setpriority, 0, process, 0);
    give_precedence(process, PRECEDENCE_OF_THE_JOB);
    write_all(one->request[1], request.bytes, request.length);
    if (!agrees(one)) {
        drop_one(one);
        return 0;
    }
    /* Our ends of its pipes stay open: to free them takes longer than a short job. */
    one->process = 0;
    return process;
}

#endif
