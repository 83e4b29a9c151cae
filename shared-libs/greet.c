/* The example's first library: needs nothing. */
const char *greet(void) { return "hello"; }
