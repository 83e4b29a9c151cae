/* The example's second library: needs the first. */
extern const char *greet(void);
int count(void)
{
	const char *end = greet();
	int letters = 0;
	while (end[letters] != '\0')
		letters++;
	return letters;
}
