/*
 * What a held program's memory has of ours: a page with the code of held.c, then this. The job
 * runner writes both while it traces the program (hold.h).
 */
#ifndef HPCVM_HELD_H
#define HPCVM_HELD_H

#include <stddef.h>
#include <stdint.h>

#define HELD_CODE 4096u
#define HELD_TEXT (128u << 10)

struct held {
    unsigned long entry;     /* the program's first instruction */
    unsigned long stack;     /* the job's, when it goes on there */
    uint32_t pointers;       /* room on its stack for arguments and variables, and the two zeros that end them */
    int32_t request, answer; /* descriptors */
    char text[HELD_TEXT];    /* the request's strings, which the job keeps */
};

/* A request's first words; the groups as u32 and the strings follow: folder, the path that was found, arguments, variables. */
struct request {
    uint32_t uid, gid, mask, groups, arguments, variables;
    uint32_t asks; /* for held programs only: the user may not be allowed to execute it */
};
#define COMMON_REQUEST offsetof(struct request, asks)

#endif
