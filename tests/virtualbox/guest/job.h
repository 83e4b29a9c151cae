/* The job disk and the result disk (docs/job-protocol.md). */

#define ENOENT 2
#define ENODEV 19

/* States of a result. */
enum { EXITED = 1, SIGNALLED = 2, NOT_STARTED = 3 };
/* An exit status from here on is a signal. */
#define KILLED 1000

struct job_header {
	char magic[8];
	u32 version, body_length, body_crc32, state;
};

struct record {
	u16 tag, reserved;
	u32 length;
};

struct result_header {
	char magic[8];
	u32 version, state, value, outputs;
	u64 stdout_bytes, stderr_bytes;
};

enum { HOSTNAME = 2, UID = 4, GID = 5, USER = 7, ARGUMENT = 9, VARIABLE = 10, FOLDER = 11, OUTPUT = 15, SPOOL = 24 };

#define ARGUMENTS 64
#define VARIABLES 64

static struct {
	char *arguments[ARGUMENTS], *variables[VARIABLES];
	char *hostname, *user, *folder;
	u32 count, variable_count, uid, gid, outputs;
	/* A stream goes on on the result disk after so many bytes; where, and the room for each; no room: it does not. */
	struct { u64 after, offset, room; } spool;
} job;

/* Every string that is kept. */
static char strings[8192];
static u32 strings_used;

/* The disk being read, and where: bytes are taken one by one, sectors by the buffer. */
static int job_drive;
static u32 position, crc;

static u8 next_byte(void)
{
	u32 within = position % sizeof sector_buffer;
	if (!within)
		transfer(READ, job_drive, position / 512, SECTORS);
	position++;
	return sector_buffer[within];
}

/* A byte of the body. */
static u8 body_byte(void)
{
	u8 byte = next_byte();
	crc ^= byte;
	for (int bit = 0; bit < 8; bit++)
		crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	return byte;
}

static void body_bytes(void *to, u32 length)
{
	for (u32 i = 0; i < length; i++)
		((u8 *)to)[i] = body_byte();
}

/* Keeps a record's string of `length` bytes; what does not fit is passed over, and 0 returned. */
static char *keep(u32 length)
{
	char *string = strings + strings_used;
	if (length > sizeof strings - strings_used)
		return 0;
	body_bytes(string, length);
	strings_used += length;
	return string;
}

/* Takes a record; returns how much of its payload was taken, or -1 when the job is too large for this guest. */
static int take(struct record *record)
{
	u32 length = record->length;
	char *string;
	switch (record->tag) {
	case UID:
	case GID:
		body_bytes(record->tag == UID ? &job.uid : &job.gid, 4);
		return 4;
	case OUTPUT:
		job.outputs++;
		return 0;
	case SPOOL:
		body_bytes(&job.spool, sizeof job.spool);
		return sizeof job.spool;
	case ARGUMENT:
		if (job.count == ARGUMENTS || !(string = keep(length)))
			return -1;
		job.arguments[job.count++] = string;
		return length;
	case VARIABLE:
		/* An environment larger than this guest keeps is no reason not to run. */
		if (job.variable_count == VARIABLES || length > 512 || !(string = keep(length)))
			return 0;
		job.variables[job.variable_count++] = string;
		return length;
	case HOSTNAME:
	case USER:
	case FOLDER:
		if (!(string = keep(length)))
			return -1;
		*(record->tag == USER ? &job.user : record->tag == FOLDER ? &job.folder : &job.hostname) = string;
		return length;
	}
	return 0;
}

/* Reads the job disk; returns what is wrong with it, or nothing. */
static const char *read_job(void)
{
	struct job_header header;
	job_drive = find_drive("HPCVMJOB");
	if (job_drive < 0)
		return "there is no job disk";
	for (u32 i = 0; i < sizeof header; i++)
		((u8 *)&header)[i] = next_byte();
	if (header.version != 1 || header.state)
		return "the job disk is of another version, or a template's";
	crc = ~0u;
	for (u32 left = header.body_length; left;) {
		struct record record;
		if (left < sizeof record)
			return "the job disk has half a record";
		body_bytes(&record, sizeof record);
		left -= sizeof record;
		if (left < record.length)
			return "the job disk has half a record";
		int taken = take(&record);
		if (taken < 0)
			return "the job is too large for this guest";
		for (u32 i = taken; i < record.length; i++)
			body_byte();
		left -= record.length;
	}
	if (~crc != header.body_crc32)
		return "the job disk is damaged";
	return job.count ? 0 : "the job has no command";
}
