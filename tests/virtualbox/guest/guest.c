/*
 * A guest that fits in a few sectors and speaks hpcvm's job protocol (docs/job-protocol.md): it reads the job
 * disk by the BIOS, runs the job's command as far as it knows it, and leaves the ending on the result disk.
 * It is for hypervisors that are too slow, where they are tested, for Linux.
 *
 * Its ports are three of a PC's four: COM2 control, COM3 standard output and input, COM4 standard error.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#include "machine.h"
#include "job.h"

static u32 started_at; /* in ticks of the clock */
static u64 written[2];
static int exit_status; /* of the last command; of the job at its end */
static int leaving;     /* `exit` was met, or the job was killed */

/* Ports */

enum { CONTROL, STDOUT, STDERR, STDIN = STDOUT };
static const u16 ports[] = {0x2f8, 0x3e8, 0x2e8};

static int stopping, acknowledged, nobody_reads[2];

static int number_after(const char *text)
{
	while (*text && *text != ' ')
		text++;
	return parse(text + (*text == ' '));
}

/* Takes what the launcher says, whatever else is going on. */
static void listen(void)
{
	static char line[64];
	static u32 length;
	while (in8(ports[CONTROL] + 5) & 1) {
		char byte = in8(ports[CONTROL]);
		if (byte != '\n') {
			if (length < sizeof line - 1)
				line[length++] = byte;
			continue;
		}
		line[length] = 0;
		length = 0;
		if (starts(line, "stop "))
			stopping = 1;
		else if (starts(line, "ack"))
			acknowledged = 1;
		else if (starts(line, "closed ") && number_after(line) - 1u < 2)
			nobody_reads[number_after(line) - 1] = 1;
	}
}

/* Sends a byte; 0 when the job is to end first. */
static int put(int port, char byte)
{
	while (!(in8(ports[port] + 5) & 0x20)) {
		listen();
		if (port != CONTROL && (stopping || nobody_reads[port - STDOUT]))
			return 0;
	}
	out8(ports[port], byte);
	return 1;
}

/* A byte of standard input; -1 at its end, or when the job must stop. */
static int get_byte(void)
{
	while (!(in8(ports[STDIN] + 5) & 1)) {
		listen();
		if (stopping)
			return -1;
	}
	return in8(ports[STDIN]);
}

static void say(const char *text)
{
	while (*text)
		put(CONTROL, *text++);
}

static void say_number(u64 number)
{
	char text[24];
	say(decimal(number, text));
}

/* Says `word`, the time since the start in nanoseconds, and the numbers. */
static void report(const char *word, const u64 *numbers, int count)
{
	say(word);
	put(CONTROL, ' ');
	say_number((u64)(ticks() - started_at) * NANOSECONDS_OF_A_TICK);
	for (int i = 0; i < count; i++) {
		put(CONTROL, ' ');
		say_number(numbers[i]);
	}
	put(CONTROL, '\n');
}

/* What goes to the result disk, each stream by its own buffer. */
static int result_drive = -1;
static u8 spool_buffers[2][sizeof sector_buffer];
static u64 spooled[2];

static void tell_spooled(void)
{
	say("spooled ");
	say_number(spooled[0]);
	put(CONTROL, ' ');
	say_number(spooled[1]);
	put(CONTROL, '\n');
}

/* Writes the whole buffer of a stream, of which LENGTH bytes count. */
static void flush(int stream, u32 length)
{
	u64 place = job.spool.offset + (stream ? job.spool.room : 0) + spooled[stream];
	/* All but the last piece are whole buffers. */
	transfer_of(spool_buffers[stream], WRITE, result_drive, place >> 9, SECTORS);
	spooled[stream] += length;
}

static void spool_byte(int stream, char byte)
{
	u32 within = (written[stream] - job.spool.after) % sizeof sector_buffer;
	spool_buffers[stream][within] = byte;
	if (within + 1 == sizeof sector_buffer) {
		flush(stream, sizeof sector_buffer);
		tell_spooled();
	}
}

static void flush_spool(void)
{
	for (int stream = 0; stream < 2; stream++)
		if (job.spool.room && written[stream] > job.spool.after + spooled[stream])
			flush(stream, written[stream] - job.spool.after - spooled[stream]);
	if (spooled[0] || spooled[1])
		tell_spooled();
}

/* Sends a byte of the job's output by its port or to the disk; 0 when the job is to end first. */
static int pass(int port, char byte)
{
	if (!job.spool.room || result_drive < 0 || written[port - STDOUT] < job.spool.after)
		return put(port, byte);
	spool_byte(port - STDOUT, byte);
	return 1;
}

/* The job's output. */
static void write_byte(int port, char byte)
{
	listen();
	if (leaving)
		return;
	if (stopping || nobody_reads[port - STDOUT] || !pass(port, byte)) {
		exit_status = stopping ? KILLED + 15 : KILLED + 13;
		leaving = 1;
		return;
	}
	written[port - STDOUT]++;
}

static void write(int port, const char *text)
{
	while (*text)
		write_byte(port, *text++);
}

#include "shell.h"

/* Leaves the ending on the result disk; without the disk it is only said. */
static void leave_result(u32 state, u32 value, u32 outputs)
{
	int drive = find_drive("HPCVMRES");
	if (drive < 0)
		return;
	struct result_header *header = (struct result_header *)sector_buffer;
	header->state = state;
	header->value = value;
	header->outputs = outputs;
	header->stdout_bytes = written[0];
	header->stderr_bytes = written[1];
	transfer(WRITE, drive, 0, 1);
}

static void end(const char *word, u32 state, u32 value)
{
	/* There are no files here to bring back: where outputs are asked for, this is the tar's failure. */
	u32 outputs = state == EXITED && job.outputs ? 2 : 0;
	flush_spool();
	leave_result(state, value, outputs);
	u64 numbers[] = {value, written[0], written[1], outputs};
	report(word, numbers, 4);
	for (u32 since = ticks(); !acknowledged && ticks() - since < MINUTE;)
		listen();
	/* What no launcher counts may still be in the ports. */
	for (int port = CONTROL; port <= STDERR; port++)
		for (u32 since = ticks(); !(in8(ports[port] + 5) & 0x40) && ticks() - since < SECOND;)
			;
	power_off();
}

void guest(void)
{
	for (char *byte = bss_start; byte < bss_end; byte++)
		*byte = 0;
	started_at = ticks();
	for (int port = CONTROL; port <= STDERR; port++)
		open_port(ports[port], port != CONTROL);
	report("ready", 0, 0);
	const char *problem = read_job();
	if (problem) {
		say("problem ");
		say(problem);
		put(CONTROL, '\n');
		end("refused", NOT_STARTED, ENODEV);
	}
	result_drive = find_drive("HPCVMRES");
	listen();
	if (stopping)
		end("stopped", NOT_STARTED, 0);
	if (!is_known(job.arguments[0]))
		end("nocommand", NOT_STARTED, ENOENT);
	report("started", 0, 0);
	run(job.arguments, job.count);
	if (exit_status >= KILLED)
		end("signal", SIGNALLED, exit_status - KILLED);
	end("exit", EXITED, exit_status & 0xff);
}
