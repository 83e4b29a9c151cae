% Computes what reference.json holds with Octave: one line for each result, `NAME ok` or how far off.
1;

function compare(name, computed, expected, tolerance)
  off = max(abs(computed(:) - expected(:))) / max(abs(expected(:)));
  if off < tolerance
    printf("octave %s ok\n", name);
  else
    printf("octave %s off by %g\n", name, off);
  end
end

reference = jsondecode(fileread(argv(){1}));

% The error bound of a backward stable solver: condition 1.5e10 times 1.1e-16, and a decade for n = 8.
compare("hilbert_solution", hilb(8) \ ones(8, 1), reference.hilbert_solution, 2e-5);
compare("hilbert_determinant", det(hilb(8)), reference.hilbert_determinant, 2e-5);

% by FFTW
compare("spectrum", fft(reference.signal), reference.spectrum_real + 1i * reference.spectrum_imaginary, 1e-14);

count = numel(reference.chain_eigenvalues);
chain = spdiags(ones(count, 1) * [-1, 2, -1], -1:1, count, count);
compare("chain_eigenvalues", eig(full(chain)), reference.chain_eigenvalues, 1e-13);
% sparse, by UMFPACK: the chain is in equilibrium under equal forces
bent = chain \ ones(count, 1);
compare("chain_bent", bent, (1:count)' .* (count:-1:1)' / 2, 1e-12);

% QUADPACK and LSODE are Fortran.
area = quad(@(x) x .^ 3 .* exp(-x) ./ -expm1(-x), 0, Inf);
compare("bose_integral", area, reference.bose_integral, 1e-9);
lsode_options("relative tolerance", 1e-10);
lsode_options("absolute tolerance", 1e-12);
grown = lsode(@(y, t) y * (1 - y), 0.1, [0; reference.logistic_times]);
compare("logistic_values", grown(2:end), reference.logistic_values, 1e-8);
