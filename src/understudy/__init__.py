"""Covers of finished songs, sung by a cloned voice."""

import os

__version__ = "0.1.0"

# Stages run their windows in threads of their own, beside which BLAS's threads only spin: one of them is 15 % cheaper
# (a minute of song: 24.3 instead of 28.3 CPU seconds). It must be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Beside other busy programs, torch's threads lose their time waiting for each other in a loop: with a shorter loop
# HTDemucs took 13.9 instead of 18.6 s beside two busy processes, and as long as before alone. It must be set before
# torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
