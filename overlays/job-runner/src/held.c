/*
 * Code that waits in a held program (docs/job-protocol.md, "Held programs"): the dynamic loader has
 * done its work and comes here instead of to the program's first instruction. Here the process takes
 * the job's user, folder, arguments and environment, and goes on to that instruction.
 *
 * It is copied to any address, so it has no data of its own and calls nothing outside this file.
 */
#include "calls.h"
#include "held.h"

#include <linux/auxvec.h>

#define PR_SET_DUMPABLE 4
#define PR_SET_NAME 15
#define PR_SET_MM 35
#define PR_SET_MM_ARG_START 8
#define PR_SET_MM_ARG_END 9
#define PR_SET_MM_ENV_START 10
#define PR_SET_MM_ENV_END 11
#define X_OK 1
#define MOST_GROUPS 256
#define MOST_AUXILIARY 48

/*
 * As the loader leaves them: the stack as the kernel made it, what to do at exit in edx or rdx. The
 * job's arguments are to stand below that stack, so this works further down.
 */
#if defined(__i386__)
__asm__(".section .start,\"ax\"\n.globl hold\nhold: mov %esp, %eax\n call 1f\n1: pop %ebx\n and $-4096, %ebx\n add $4096, %ebx\n"
        " sub $8192, %esp\n and $-16, %esp\n push %edx\n push %edx\n push %ebx\n push %eax\n call wait_for_job\n add $12, %esp\n"
        " pop %edx\n mov 4(%ebx), %esp\n jmp *%eax\n.text\n");
#else
__asm__(".section .start,\"ax\"\n.globl hold\nhold: mov %rsp, %rdi\n lea 1f(%rip), %rsi\n1: and $-4096, %rsi\n add $4096, %rsi\n"
        " mov %rsi, %rbx\n sub $16384, %rsp\n and $-16, %rsp\n push %rdx\n push %rdx\n call wait_for_job\n pop %rdx\n"
        " mov 8(%rbx), %rsp\n jmp *%rax\n.text\n");
#endif

__attribute__((noreturn)) static void leave(void)
{
    for (;;)
        sys(__NR_exit_group, 0);
}

static void take(int from, void *bytes, size_t n)
{
    char *to = bytes;
    while (n) {
        long got = sys(__NR_read, from, to, n);
        if (got <= 0)
            leave();
        to += got;
        n -= (size_t)got;
    }
}

/* Takes COUNT strings; returns the end of the last. */
static char *take_strings(struct held *held, uint32_t count)
{
    char *end = held->text, *limit = held->text + sizeof held->text;
    while (count) {
        long got = sys(__NR_read, held->request, end, limit - end);
        if (got <= 0)
            leave();
        for (; got && count; got--)
            count -= !*end++;
        if (got)
            leave();
    }
    return end;
}

static char *after(char *string)
{
    while (*string++)
        ;
    return string;
}

static void must(long result)
{
    if (result < 0)
        leave();
}

/* What /proc tells of a process, as after an exec; nobody's work depends on it. */
static void take_name(char *program, char *arguments, char *variables, char *end)
{
    char *name = program;
    for (char *p = program; *p; p++)
        if (*p == '/')
            name = p + 1;
    sys(__NR_prctl, PR_SET_NAME, name);
    sys(__NR_prctl, PR_SET_MM, PR_SET_MM_ARG_START, arguments, 0, 0);
    sys(__NR_prctl, PR_SET_MM, PR_SET_MM_ARG_END, variables, 0, 0);
    sys(__NR_prctl, PR_SET_MM, PR_SET_MM_ENV_START, variables, 0, 0);
    sys(__NR_prctl, PR_SET_MM, PR_SET_MM_ENV_END, end, 0, 0);
}

static void take_rights(const struct request *request, const uint32_t *groups, const char *folder, const char *program)
{
    must(sys(NR_SETGROUPS, request->groups, groups));
    must(sys(NR_SETGID, request->gid));
    must(sys(NR_SETUID, request->uid));
    sys(__NR_umask, request->mask);
    must(sys(__NR_chdir, folder));
    if (request->asks)
        must(sys(__NR_faccessat, -100 /* AT_FDCWD */, program, X_OK));
    /* As after an exec: the job may open what /proc has of itself. */
    sys(__NR_prctl, PR_SET_DUMPABLE, 1);
}

/* Writes the auxiliary vector that the kernel would have made for the job. */
static void put_auxiliary(unsigned long *at, const unsigned long *old, const struct request *request,
                          const struct held *held, const char *program)
{
    for (; old[0] != AT_NULL; old += 2, at += 2) {
        at[0] = old[0];
        at[1] = old[1];
        if (old[0] == AT_UID || old[0] == AT_EUID)
            at[1] = request->uid;
        else if (old[0] == AT_GID || old[0] == AT_EGID)
            at[1] = request->gid;
        else if (old[0] == AT_ENTRY)
            at[1] = held->entry;
        else if (old[0] == AT_EXECFN)
            at[1] = (unsigned long)program;
        else if (old[0] == AT_RANDOM)
            sys(__NR_getrandom, old[1], 16, 0);
    }
    at[0] = at[1] = 0;
}

/*
 * Lays the job's arguments and environment out as the kernel does for a program that starts. The C
 * library remembers where environment and auxiliary vector begin: those begin where they did, the
 * vector a second time behind the job's environment.
 */
static void put_stack(unsigned long *stack, const struct request *request, struct held *held, char *program,
                      char *string)
{
    unsigned long kept[2 * MOST_AUXILIARY], *environment = stack + 2 + stack[0], *old = environment;
    size_t n = 0;
    while (*old++)
        ;
    do {
        kept[n] = old[n];
        kept[n + 1] = old[n + 1];
        n += 2;
    } while (kept[n - 2] != AT_NULL && n < 2 * MOST_AUXILIARY);
    kept[n - 2] = AT_NULL;
    unsigned long *at = environment - request->arguments - 2;
    held->stack = (unsigned long)at;
    *at++ = request->arguments;
    for (uint32_t i = 0; i < request->arguments; i++, string = after(string))
        *at++ = (unsigned long)string;
    *at++ = 0;
    for (uint32_t i = 0; i < request->variables; i++, string = after(string))
        *at++ = (unsigned long)string;
    *at++ = 0;
    put_auxiliary(at, kept, request, held, program);
    put_auxiliary(old, kept, request, held, program);
}

/* Returns the program's first instruction when the process is the job. */
__attribute__((used)) unsigned long wait_for_job(unsigned long *stack, struct held *held)
{
    struct request request;
    uint32_t groups[MOST_GROUPS];
    char word = 'r';
    sys(__NR_write, held->answer, &word, 1);
    take(held->request, &request, sizeof request);
    if (request.groups > MOST_GROUPS || request.arguments > held->pointers ||
        request.variables + 2 * MOST_AUXILIARY + 4 > held->pointers)
        leave();
    take(held->request, groups, 4 * request.groups);
    char *end = take_strings(held, 2 + request.arguments + request.variables);
    char *folder = held->text, *program = after(folder), *arguments = after(program), *variables = arguments;
    for (uint32_t i = 0; i < request.arguments; i++)
        variables = after(variables);
    take_name(program, arguments, variables, end);
    take_rights(&request, groups, folder, program);
    put_stack(stack, &request, held, program, arguments);
    word = 'y';
    sys(__NR_write, held->answer, &word, 1);
    sys(__NR_close, held->request);
    sys(__NR_close, held->answer);
    return held->entry;
}
