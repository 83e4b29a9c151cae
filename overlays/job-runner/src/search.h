/*
 * Where the job's command is looked for, as execvp(3) does.
 */
#ifndef HPCVM_SEARCH_H
#define HPCVM_SEARCH_H

#include "description.h"

/* A command with a slash is a path. */
static int is_path(const char *command)
{
    while (*command)
        if (*command++ == '/')
            return 1;
    return 0;
}

/* The job's PATH. */
static const char *search_path(void)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin";
    for (int i = 0; i < variable_count; i++)
        if (starts_with(variables[i], "PATH="))
            path = variables[i] + 5;
    return path;
}

/* The job's program in the next folder of *PATH, which moves on; an empty name is the working directory. */
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

#endif
