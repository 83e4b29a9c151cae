#!/usr/bin/env python3
"""Derives reference.json from definitions and closed forms, with Python's standard library alone.

    derive.py            print it
    derive.py FILE       exit with 1 unless FILE holds the same, to the last two digits of a double

Nothing here uses the libraries that the results are to judge: linear algebra is exact (fractions), the
transform is its defining sum (fsum rounds once), everything else is a closed form.
"""

import json
import math
import sys
from fractions import Fraction

ORDER = 8  # of the Hilbert matrix: its condition is 1.5e10
POINTS = 60  # of the transform; 60 = 4 * 3 * 5 takes several of FFTW's codelets
CHAIN = 24  # of the second-difference matrix


def hilbert():
    return [[Fraction(1, row + column + 1) for column in range(ORDER)] for row in range(ORDER)]


def eliminate(matrix, right):
    """The solution of `matrix` x = `right` and the determinant, by Gauss without rounding."""
    rows = [row + [value] for row, value in zip(matrix, right)]
    determinant = Fraction(1)
    for pivot in range(ORDER):
        determinant *= rows[pivot][pivot]
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for other in range(ORDER):
            if other != pivot:
                factor = rows[other][pivot]
                rows[other] = [value - factor * own for value, own in zip(rows[other], rows[pivot])]
    return [row[-1] for row in rows], determinant


def transform(values):
    """The discrete Fourier transform, by its definition; angles are reduced before they are rounded."""
    count = len(values)
    turn = [2 * math.pi * step / count for step in range(count)]
    angle = lambda row, step: turn[row * step % count]
    real = [math.fsum(v * math.cos(angle(row, k)) for k, v in enumerate(values)) for row in range(count)]
    imaginary = [math.fsum(-v * math.sin(angle(row, k)) for k, v in enumerate(values)) for row in range(count)]
    return real, imaginary


def reference():
    solution, determinant = eliminate(hilbert(), [Fraction(1)] * ORDER)
    signal = [float(k * k % 17) for k in range(POINTS)]
    real, imaginary = transform(signal)
    return {
        "hilbert_solution": [float(value) for value in solution],
        "hilbert_determinant": float(determinant),
        "signal": signal,
        "spectrum_real": real,
        "spectrum_imaginary": imaginary,
        # A chain of masses and springs: 2 - 2 cos(k pi / (n + 1))
        "chain_eigenvalues": [4 * math.sin(k * math.pi / (2 * CHAIN + 2)) ** 2 for k in range(1, CHAIN + 1)],
        # Bose's integral of x^3 / (e^x - 1) over x > 0: gamma(4) zeta(4)
        "bose_integral": math.pi**4 / 15,
        # y' = y (1 - y), y(0) = 1/10
        "logistic_times": [1.0, 3.0, 5.0],
        "logistic_values": [1 / (1 + 9 * math.exp(-time)) for time in (1.0, 3.0, 5.0)],
    }


def main():
    derived = reference()
    if len(sys.argv) == 1:
        json.dump(derived, sys.stdout, indent=1)
        print()
        return 0
    with open(sys.argv[1], encoding="utf-8") as file:
        stored = json.load(file)
    listed = lambda value: value if isinstance(value, list) else [value]
    close = lambda ours, theirs: math.isclose(ours, theirs, rel_tol=1e-14, abs_tol=1e-13)
    differing = [name for name in derived if len(listed(derived[name])) != len(listed(stored.get(name, [])))
                 or not all(map(close, listed(derived[name]), listed(stored[name])))]
    differing += sorted(stored.keys() - derived.keys())
    for name in differing:
        print(f"{name} differs", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
