"""Computes what reference.json holds with NumPy and SciPy: one line for each result, `NAME ok` or how far off."""

import json
import sys

import numpy
from scipy import fft, integrate, linalg, sparse
from scipy.sparse.linalg import eigsh

with open(sys.argv[1], encoding="utf-8") as file:
    reference = json.load(file)


def compare(name, computed, expected, tolerance):
    expected = numpy.asarray(expected)
    off = numpy.max(numpy.abs(computed - expected)) / numpy.max(numpy.abs(expected))
    print(f"python {name}", "ok" if off < tolerance else f"off by {off}")


hilbert = linalg.hilbert(8)
# The error bound of a backward stable solver: condition 1.5e10 times 1.1e-16, and a decade for n = 8.
compare("hilbert_solution", linalg.solve(hilbert, numpy.ones(8)), reference["hilbert_solution"], 2e-5)
compare("hilbert_determinant", numpy.linalg.det(hilbert), reference["hilbert_determinant"], 2e-5)

spectrum = numpy.array(reference["spectrum_real"]) + 1j * numpy.array(reference["spectrum_imaginary"])
compare("spectrum", fft.fft(reference["signal"]), spectrum, 1e-14)

count = len(reference["chain_eigenvalues"])
chain = sparse.diags([-1, 2, -1], [-1, 0, 1], shape=(count, count), format="csc")
compare("chain_eigenvalues", linalg.eigvalsh(chain.toarray()), reference["chain_eigenvalues"], 1e-13)
# ARPACK is Fortran, and so are QUADPACK and LSODA.
largest = eigsh(chain, k=3, v0=numpy.arange(1.0, count + 1), return_eigenvectors=False)
compare("largest_eigenvalues", numpy.sort(largest), reference["chain_eigenvalues"][-3:], 1e-12)

area, _ = integrate.quad(lambda x: x**3 * numpy.exp(-x) / -numpy.expm1(-x), 0, numpy.inf)
compare("bose_integral", area, reference["bose_integral"], 1e-9)

times = [0, *reference["logistic_times"]]
grown = integrate.odeint(lambda y, _: y * (1 - y), 0.1, times, rtol=1e-10, atol=1e-12)
compare("logistic_values", grown[1:, 0], reference["logistic_values"], 1e-8)
