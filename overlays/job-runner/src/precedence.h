/*
 * Services wake up with a restored machine, and are busy when a booted one's job starts: what prepares
 * the job goes before them (sched(7)), and so does the job in its first moments.
 */
#ifndef HPCVM_PRECEDENCE_H
#define HPCVM_PRECEDENCE_H

#include "description.h"

/* Nanoseconds until the job goes before services no more, unless its first output comes sooner. */
#define FIRST_MOMENTS 250000000u
#define NO_PRECEDENCE 0
#define PRECEDENCE_OF_THE_JOB 1
/* Who passes the job's output on does not wait until it sleeps. */
#define PRECEDENCE_OF_THE_RUNNER 2

/* PROCESS 0 is the caller. What it starts has none. */
static void give_precedence(long process, int priority)
{
    if (is_service)
        sys(__NR_sched_setscheduler, process, priority ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER, &priority);
}

#endif
