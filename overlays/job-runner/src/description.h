/*
 * What the job disk says of the job (docs/job-protocol.md), and the open disks and control port.
 */
#ifndef HPCVM_DESCRIPTION_H
#define HPCVM_DESCRIPTION_H

#include "job.h"
#include "sys.h"
#include "libraries.h"

#define MAX_BODY (4u << 20)
#define MAX_STRINGS 16384
#define MAX_SHARES 32
#define CHUNK 65536

/* The start of the job disk: its header, then the records. */
static uint32_t job_length; /* of what the host has sent of it; 0: it stands on the disk only */
static char body[MAX_BODY + 2 * BLOCK] __attribute__((aligned(BLOCK)));
static char *arguments[MAX_STRINGS], *variables[MAX_STRINGS], *outputs[256];
static int argument_count, variable_count, output_count;
static struct { uint32_t read_only; const char *tag, *path; } shares[MAX_SHARES];
static int share_count;
static uint32_t uid, gid, groups[256], mask = 022;
static int group_count;
static const char *hostname = "hpcvm", *user = "job", *home = "/home/job", *folder = "/", *scratch;
static const uint8_t *seed, *network;
static int has_hardware_address; /* after the addresses of `network` */
static uint32_t seed_length;
static struct timespec64 clock_at_launch;
static uint32_t input_offset;
static int has_input, is_service;
static const char *init_began; /* uptime at which the initial RAM disk's program began */
static char *touches[64];
static int touch_count;
static char *to_be_held[8]; /* programs, by their paths */
static int held_count;
static char *preload_words;
static uint32_t preload_length;
static long job_disk = -1, result_disk = -1, control = -1;
static struct text control_line;

static int has_user; /* somebody, and not only the values above */
static int others_ran; /* in the template, besides what hpcvm itself runs there */

#endif
