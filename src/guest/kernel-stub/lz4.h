/* Decodes one LZ4 block (lz4_Block_format.md of the LZ4 project).
 *
 * Small before all, but bounded on both sides: a damaged image must stop, not run wild.
 * Includes nothing, so that the stub and the tests compile the same text. */

#ifndef HPCVM_LZ4_H
#define HPCVM_LZ4_H

typedef unsigned char lz4_byte;
/* A word that may alias anything and stand at any address. */
typedef unsigned lz4_word __attribute__((may_alias, aligned(1)));

/* Copies forward, as the format's overlapping matches need it: four bytes at a time where source
 * and target are far enough apart for that to be the same. */
static inline void lz4_copy(lz4_byte *to, const lz4_byte *from, unsigned length)
{
	if (to - from >= 4 || from >= to) {
		for (; length >= 4; length -= 4, to += 4, from += 4)
			*(lz4_word *)to = *(const lz4_word *)from;
	}
	while (length--)
		*to++ = *from++;
}

/* Adds the bytes that continue a length of 15; returns 0 when they run past the end. */
static inline int lz4_length(const lz4_byte **in, const lz4_byte *end, unsigned *length)
{
	lz4_byte more;
	if (*length != 15)
		return 1;
	do {
		if (*in == end)
			return 0;
		more = *(*in)++;
		*length += more;
	} while (more == 255);
	return 1;
}

/* Decodes `stored` bytes at `in` to exactly `length` bytes at `out`; returns whether it could. */
static int lz4_block(const lz4_byte *in, unsigned stored, lz4_byte *out, unsigned length)
{
	const lz4_byte *end = in + stored;
	lz4_byte *start = out, *limit = out + length;

	while (in < end) {
		unsigned token = *in++, run = token >> 4, offset;
		if (!lz4_length(&in, end, &run) || run > (unsigned)(end - in) || run > (unsigned)(limit - out))
			return 0;
		lz4_copy(out, in, run);
		in += run;
		out += run;
		if (in == end)
			break;
		if (end - in < 2)
			return 0;
		offset = in[0] | in[1] << 8;
		in += 2;
		run = token & 15;
		if (!lz4_length(&in, end, &run))
			return 0;
		run += 4;
		if (offset == 0 || offset > (unsigned)(out - start) || run > (unsigned)(limit - out))
			return 0;
		lz4_copy(out, out - offset, run);
		out += run;
	}
	return out == limit;
}

#endif
