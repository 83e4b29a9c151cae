/*
 * The job disk and the result disk, as hpcvm's `guest::job_disk` and `guest::result_disk`
 * describe them (docs/job-protocol.md). All numbers are little-endian.
 */
#ifndef HPCVM_JOB_H
#define HPCVM_JOB_H

#include <stdint.h>

#define JOB_MAGIC "HPCVMJOB"
#define RESULT_MAGIC "HPCVMRES"
#define FORMAT_VERSION 1

struct job_header {
    char magic[8];
    uint32_t version;
    uint32_t body_length; /* bytes of records after this header */
    uint32_t body_crc32;  /* of those records (ISO-HDLC, as in zlib) */
    uint32_t state;
};
/* States of a job disk. */
#define STATE_JOB 0
#define STATE_TEMPLATE 1 /* no job yet: the machine is about to be saved, wait for the next disk */

struct record {
    uint16_t tag;
    uint16_t reserved;
    uint32_t length;
};

enum tag {
    TAG_CLOCK = 1,     /* u64 seconds since 1970, u32 nanoseconds */
    TAG_HOSTNAME = 2,  /* string */
    TAG_SEED = 3,      /* random bytes for the kernel's generator */
    TAG_UID = 4,       /* u32 */
    TAG_GID = 5,       /* u32 */
    TAG_GROUP = 6,     /* u32, repeated */
    TAG_USER = 7,      /* string */
    TAG_HOME = 8,      /* string */
    TAG_ARGUMENT = 9,  /* string, repeated */
    TAG_VARIABLE = 10, /* string NAME=VALUE, repeated */
    TAG_FOLDER = 11,   /* string: the job's working directory */
    TAG_UMASK = 12,    /* u32 */
    TAG_SHARE = 13,    /* u32 flags (1: read-only), string 9p tag, string guest path */
    TAG_INPUT = 14,    /* u64 offset of a tar on this disk, u64 length */
    TAG_OUTPUT = 15,   /* string: a path to bring back, repeated */
    TAG_NETWORK = 17,  /* address, netmask, gateway, name server: 4 x 4 bytes in network order; 6 of the hardware's */
    TAG_SCRATCH = 19,  /* string: where the scratch disk is mounted */
    TAG_LIBRARIES = 20, /* u32 kind, u32 generation, 32 bytes its digest, string 9p tag, string guest path */
    TAG_TOUCH = 21,    /* string: a shell command run before a template is saved, repeated */
    TAG_PRELOAD = 22,  /* strings: an interpreter that a template starts, and its arguments */
    TAG_OTHERS = 23,   /* nothing: what runs before a template is saved may read what copies must not share */
    TAG_SPOOL = 24,    /* u64 bytes of a stream after which it goes to the result disk, u64 where, u64 room for each */
    TAG_HOLD = 25,     /* string: a program that a template starts and holds before its first instruction, repeated */
};
/* Strings end with a NUL that counts in their length. */

/* Kinds of TAG_LIBRARIES. */
#define LIBRARIES_FOLDER 1
#define LIBRARIES_DISK 2

/* After the squashfs of an exported generation, at the next multiple of 4096 bytes. */
struct library_trailer {
    char magic[8];
    uint32_t version;
    uint32_t generation;
    uint8_t digest[32]; /* SHA-256 of the generation's index */
};
#define LIBRARY_MAGIC "HPCVMLIB"
#define LIBRARY_VERSION 1

struct result_header {
    char magic[8];
    uint32_t version;
    uint32_t state;        /* 0: nothing yet, 1: exited, 2: killed by a signal, 3: not started */
    uint32_t value;        /* exit status, signal number, or errno */
    uint32_t outputs;      /* status of packing the outputs */
    uint64_t stdout_bytes; /* bytes the job wrote */
    uint64_t stderr_bytes;
};
#define RESULT_TAR_OFFSET 4096

/* Frames on the standard input port: u32 length, bytes; length 0 is end of file. */

#endif
