/*
 * Starts a program and holds it before its first instruction: the kernel has executed it and its
 * dynamic loader has linked it, which is half of what a restored machine does for a short job. The
 * loader is told that the program begins at held.c's code, which waits for the job.
 *
 * ptrace(2), getauxval(3), and the start of a process in the System V ABI for i386 and x86-64.
 */
#ifndef HPCVM_HOLD_H
#define HPCVM_HOLD_H

#include "held.h"
#include "disk.h"

#include <linux/auxvec.h>

#define PTRACE_TRACEME 0
#define PTRACE_SINGLESTEP 9
#define PTRACE_GETREGS 12
#define PTRACE_SETREGS 13
#define PTRACE_DETACH 17
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20

/* Arguments and variables that a job may have; the environment is filled up with empty ones to make room. */
#define HELD_POINTERS 1024

/* Registers as ptrace has them (struct user_regs_struct), by number. */
#if defined(__i386__)
#define REGISTERS 17
enum { RESULT = 6, CALL = 11, INSTRUCTION = 12, STACK = 15, FIRST = 0, SECOND = 1, THIRD = 2, FOURTH = 3, FIFTH = 4, SIXTH = 5 };
#define SYSTEM_CALL "\xcd\x80"
#define NR_MMAP __NR_mmap2
__asm__(".section .rodata\n.globl held_code, held_code_end\nheld_code: .incbin \"held-i386.bin\"\nheld_code_end:\n.text\n");
#else
#define REGISTERS 27
enum { RESULT = 10, CALL = 15, INSTRUCTION = 16, SEGMENT = 17, STACK = 19, FIRST = 14, SECOND = 13, THIRD = 12, FOURTH = 7, FIFTH = 9, SIXTH = 8 };
#define SYSTEM_CALL "\x0f\x05"
#define NR_MMAP __NR_mmap
#define CODE_SEGMENT 0x33 /* a program of 64 bits */
__asm__(".section .rodata\n.globl held_code, held_code_end\nheld_code: .incbin \"held-amd64.bin\"\nheld_code_end:\n.text\n");
#endif
extern const char held_code[], held_code_end[];

/* A process that is traced and stands still, and its memory. */
struct traced {
    long process, memory;
    unsigned long registers[REGISTERS];
};

static int has_stopped(const struct traced *traced)
{
    int status = 0;
    return sys(__NR_wait4, traced->process, &status, 0, 0) == traced->process && (status & 0xff) == 0x7f &&
           (status >> 8 & 0xff) == 5 /* SIGTRAP */;
}

/* Lets the process make a system call; returns the call's result. */
static unsigned long call_in(struct traced *traced, long number, const unsigned long *arguments)
{
    static const int places[6] = {FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH};
    unsigned long registers[REGISTERS], at = traced->registers[INSTRUCTION];
    char old[2];
    memcpy(registers, traced->registers, sizeof registers);
    registers[RESULT] = (unsigned long)number;
    registers[CALL] = (unsigned long)-1; /* no system call that the kernel would restart */
    for (int i = 0; i < 6; i++)
        registers[places[i]] = arguments[i];
    if (read_at(traced->memory, old, 2, at) != 2 || write_at(traced->memory, SYSTEM_CALL, 2, at) != 2)
        return (unsigned long)-1;
    sys(__NR_ptrace, PTRACE_SETREGS, traced->process, 0, registers);
    sys(__NR_ptrace, PTRACE_SINGLESTEP, traced->process, 0, 0);
    int stopped = has_stopped(traced);
    sys(__NR_ptrace, PTRACE_GETREGS, traced->process, 0, registers);
    write_at(traced->memory, old, 2, at);
    sys(__NR_ptrace, PTRACE_SETREGS, traced->process, 0, traced->registers);
    return stopped ? registers[RESULT] : (unsigned long)-1;
}

/* Maps held.c's code and its data; returns where, or 0. */
static unsigned long map_held(struct traced *traced)
{
    const unsigned long anywhere[6] = {0, HELD_CODE + sizeof(struct held), PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, (unsigned long)-1, 0};
    unsigned long place = call_in(traced, NR_MMAP, anywhere);
    const unsigned long code[6] = {place, HELD_CODE, PROT_READ | PROT_EXEC, 0, 0, 0};
    size_t length = (size_t)(held_code_end - held_code);
    if (place & (HELD_CODE - 1) || write_at(traced->memory, held_code, length, place) != (long)length)
        return 0;
    return call_in(traced, __NR_mprotect, code) == 0 ? place : 0;
}

/* Puts CODE in the place of the program's first instruction; returns that one, or 0. */
static unsigned long redirect(struct traced *traced, unsigned long code)
{
    static unsigned long words[HELD_POINTERS + 256];
    unsigned long stack = traced->registers[STACK], entry = 0, loader = 0;
    long got = read_at(traced->memory, words, sizeof words, stack);
    size_t count = got > 0 ? (size_t)got / sizeof *words : 0, at = 1;
    for (int ends = 0; ends < 2 && at < count; at++)
        ends += !words[at];
    for (; at + 1 < count && words[at] != AT_NULL; at += 2) {
        if (words[at] == AT_ENTRY) {
            entry = words[at + 1];
            if (write_at(traced->memory, &code, sizeof code, stack + (at + 1) * sizeof code) != sizeof code)
                return 0;
        } else if (words[at] == AT_BASE) {
            loader = words[at + 1];
        }
    }
    /* A static program begins at once. */
    if (!loader) {
        traced->registers[INSTRUCTION] = code;
        sys(__NR_ptrace, PTRACE_SETREGS, traced->process, 0, traced->registers);
    }
    return entry;
}

/* Makes a process that has just executed its program wait; returns 0 where it cannot. */
static int hold(struct traced *traced, int request, int answer)
{
    static struct held held;
    unsigned long place;
    held.pointers = HELD_POINTERS;
    held.request = request;
    held.answer = answer;
    sys(__NR_ptrace, PTRACE_GETREGS, traced->process, 0, traced->registers);
#ifdef CODE_SEGMENT
    if (traced->registers[SEGMENT] != CODE_SEGMENT)
        return 0;
#endif
    if (!(place = map_held(traced)) || !(held.entry = redirect(traced, place)))
        return 0;
    if (write_at(traced->memory, &held, offsetof(struct held, text), place + HELD_CODE) < 0)
        return 0;
    return sys(__NR_ptrace, PTRACE_DETACH, traced->process, 0, 0) == 0;
}

#endif
