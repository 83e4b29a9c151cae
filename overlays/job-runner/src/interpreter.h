/*
 * Why execve(2) says that there is no file where there is one: the program's interpreter, by
 * which the kernel starts it, is missing.
 */
#ifndef HPCVM_INTERPRETER_H
#define HPCVM_INTERPRETER_H

#include "sys.h"

#define INTERPRETER_SIZE 960 /* with a word before it, it fits into a line to the host */

static uint32_t u32_of(const uint8_t *bytes)
{
    uint32_t n;
    memcpy(&n, bytes, 4);
    return n;
}

/* The path after #!, in START; 0 where there is none. */
static int script_interpreter(const uint8_t *start, long n, char *path)
{
    long at = 2, length = 0;
    if (n < 3 || start[0] != '#' || start[1] != '!')
        return 0;
    while (at < n && (start[at] == ' ' || start[at] == '\t'))
        at++;
    while (at < n && length < INTERPRETER_SIZE - 1 && start[at] > ' ')
        path[length++] = (char)start[at++];
    path[length] = 0;
    return length > 0;
}

/* PT_INTERP of the ELF file FD that begins with START; 0 where there is none (elf(5)). */
static int elf_interpreter(long fd, const uint8_t *start, long n, char *path)
{
    if (n < 64 || !same_bytes(start, "\177ELF", 4) || start[4] < 1 || start[4] > 2)
        return 0;
    int wide = start[4] == 2;
    uint32_t table = u32_of(start + (wide ? 32 : 28));
    uint32_t size = start[wide ? 54 : 42] | (uint32_t)start[wide ? 55 : 43] << 8;
    uint32_t count = start[wide ? 56 : 44] | (uint32_t)start[wide ? 57 : 45] << 8;
    if (size < (wide ? 56u : 32u) || size > 256)
        return 0;
    for (uint32_t i = 0; i < count && i < 256; i++) {
        uint8_t header[56];
        if (read_at(fd, header, wide ? 56 : 32, table + i * size) != (wide ? 56 : 32))
            return 0;
        if (u32_of(header) != 3)
            continue;
        uint32_t length = u32_of(header + (wide ? 32 : 16));
        if (length < 2 || length > INTERPRETER_SIZE)
            return 0;
        if (read_at(fd, path, length, u32_of(header + (wide ? 8 : 4))) != (long)length)
            return 0;
        path[length - 1] = 0;
        return 1;
    }
    return 0;
}

/*
 * Writes the path of the interpreter that keeps PROGRAM from starting, and returns 1; returns 0
 * where PROGRAM itself is not there, or everything is. A script's interpreter may have one of its
 * own that is missing.
 */
static int missing_interpreter(const char *program, char *path)
{
    char current[4096];
    size_t length = length_of(program);
    if (length >= sizeof current)
        return 0;
    memcpy(current, program, length + 1);
    for (int depth = 0; depth < 5; depth++) {
        uint8_t start[256];
        long fd = sys(__NR_open, current, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        if (fd < 0)
            return 0;
        long n = read_at(fd, start, sizeof start, 0);
        int named = script_interpreter(start, n, path) || elf_interpreter(fd, start, n, path);
        sys(__NR_close, fd);
        if (!named)
            return 0;
        if (sys(__NR_access, path, 0) == -ENOENT)
            return 1;
        memcpy(current, path, length_of(path) + 1);
    }
    return 0;
}

#endif
