/* The commands that this guest knows: a little of a shell. */

static void run(char **words, int count);

static const char *base_name(const char *path)
{
	const char *name = path;
	for (; *path; path++)
		if (*path == '/')
			name = path + 1;
	return name;
}

static void line_of(int port, const char *text)
{
	write(port, text);
	write_byte(port, '\n');
}

static void echo(char **words, int count, int port)
{
	for (int i = 1; i < count; i++) {
		write(port, words[i]);
		if (i + 1 < count)
			write_byte(port, ' ');
	}
	write_byte(port, '\n');
}

/* Every argument in a line of its own. */
static void args(char **words, int count, int port)
{
	for (int i = 0; i < count; i++)
		line_of(port, words[i]);
}

static void identity(int port)
{
	char text[24];
	write(port, "uid=");
	write(port, decimal(job.uid, text));
	write(port, " gid=");
	write(port, decimal(job.gid, text));
	write(port, " user=");
	line_of(port, job.user ? job.user : "");
}

static void kill_self(int signal)
{
	exit_status = KILLED + signal;
	leaving = 1;
}

static void sleep(int seconds)
{
	for (u32 since = ticks(); ticks() - since < seconds * SECOND;) {
		listen();
		if (stopping)
			return kill_self(15);
		__asm__ volatile("hlt");
	}
}

/* Standard input to standard output: the host sends a frame when it is asked for one. */
static void cat(int port)
{
	for (;;) {
		u32 length = 0;
		say("more\n");
		for (int i = 0; i < 4; i++) {
			int byte = get_byte();
			if (byte < 0)
				return kill_self(15);
			length |= (u32)byte << 8 * i;
		}
		if (!length)
			return;
		while (length-- && !leaving) {
			int byte = get_byte();
			if (byte < 0)
				return kill_self(15);
			write_byte(port, byte);
		}
	}
}

/* So many bytes, in lines of 64. */
static void fill(int bytes, int port)
{
	for (int i = 1; i <= bytes && !leaving; i++)
		write_byte(port, i % 64 ? 'a' + i % 26 : '\n');
}

/* What the word stands for: after a dollar sign, the value of the job's variable. */
static char *expanded(char *word)
{
	if (*word != '$')
		return word;
	for (u32 i = 0; i < job.variable_count; i++) {
		const char *name = word + 1;
		char *variable = job.variables[i];
		while (*name && *name == *variable)
			name++, variable++;
		if (!*name && *variable == '=')
			return variable + 1;
	}
	return word + 1 + length_of(word + 1);
}

/* The words up to the first `&&`, and what follows it when they succeed. */
static void chain(char **words, int count)
{
	int end = 0;
	while (end < count && !equal(words[end], "&&"))
		end++;
	run(words, end);
	if (end + 1 < count && !exit_status && !leaving)
		chain(words + end + 1, count - end - 1);
}

/* Runs `sh -c`: commands with `;` or `&&` between them, words with blanks between them, quotes that hold words together. */
static void script(char *text)
{
	while (*text && !leaving) {
		char *words[16], *to = text;
		int count = 0, in_word = 0;
		for (char quote = 0;; text++) {
			char byte = *text;
			if (!byte || (!quote && (byte == ';' || byte == '\n' || byte == ' '))) {
				if (in_word)
					*to++ = 0;
				in_word = 0;
				if (byte == ' ')
					continue;
				text += byte != 0;
				break;
			}
			if (!in_word && count < 16)
				words[count++] = to;
			in_word = 1;
			if (quote ? byte == quote : byte == '\'' || byte == '"')
				quote = quote ? 0 : byte;
			else
				*to++ = byte;
		}
		for (int i = 0; i < count; i++)
			words[i] = expanded(words[i]);
		if (count)
			chain(words, count);
	}
}

static const char *const known[] = {"echo", "args",     "env", "exit",  "true", "false", "sleep", "cat",
                                    "id",   "hostname", "pwd", "fill", "kill", "sh",    "test"};

static int is_known(const char *command)
{
	for (u32 i = 0; i < sizeof known / sizeof *known; i++)
		if (equal(base_name(command), known[i]))
			return 1;
	return 0;
}

static void run(char **words, int count)
{
	const char *command = base_name(words[0]);
	int port = STDOUT, number = 0;
	if (count > 1 && equal(words[count - 1], ">&2")) {
		port = STDERR;
		count--;
	}
	if (count > 1)
		number = parse(words[1] + (words[1][0] == '-'));
	exit_status = 0;
	if (equal(command, "sh") && count > 2)
		script(words[2]);
	else if (equal(command, "echo"))
		echo(words, count, port);
	else if (equal(command, "args"))
		args(words, count, port);
	else if (equal(command, "env"))
		args(job.variables, job.variable_count, port);
	else if (equal(command, "id"))
		identity(port);
	else if (equal(command, "hostname"))
		line_of(port, job.hostname ? job.hostname : "");
	else if (equal(command, "pwd"))
		line_of(port, job.folder ? job.folder : "");
	else if (equal(command, "sleep"))
		sleep(number);
	else if (equal(command, "cat"))
		cat(port);
	else if (equal(command, "fill"))
		fill(number, port);
	else if (equal(command, "kill"))
		kill_self(number);
	else if (equal(command, "test"))
		exit_status = !(count == 4 && equal(words[2], "=") && equal(words[1], words[3]));
	else if (equal(command, "false"))
		exit_status = 1;
	else if (equal(command, "exit")) {
		exit_status = number & 0xff;
		leaving = 1;
	} else if (!equal(command, "true")) {
		write(STDERR, command);
		line_of(STDERR, ": not known to this guest");
		exit_status = 127;
	}
}
