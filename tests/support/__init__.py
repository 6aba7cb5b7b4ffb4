"""What tests and benchmarks share: signals whose answer is known, small networks, files of every format, servers."""
