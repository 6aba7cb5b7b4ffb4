"""Understudy: covers of finished songs, sung by a cloned voice.

>>> import understudy as us
>>> us.VoiceLibrary().add("nova", ["nova singing.wav"], consent="self")
>>> us.cover("song.mp3", voice="nova").path
PosixPath('covers/song (nova).flac')

`cover`, `separate`, `convert` and `evaluate` are the methods of a `Session` with the folders of the command line; make
a `Session` of your own for other folders, devices or threads. Nothing is printed; errors are `UnderstudyError`.

Importing this package sets BLAS to one thread in the process, unless ``OPENBLAS_NUM_THREADS`` is set.
"""

from __future__ import annotations

import os
import sys

import lazy_loader

__version__ = "0.2.0"

# Stages run their windows in threads of their own, beside which BLAS's threads only spin: one of them is 15 % cheaper
# (a minute of song: 24.3 instead of 28.3 CPU seconds). NumPy reads the variable when it is imported; where it was
# imported before, its threads are set here: the last bits of a matrix product depend on their number, and the same song
# must give the same bytes. A number that the user has set stays.
if "OPENBLAS_NUM_THREADS" not in os.environ:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=1, user_api="blas")

# Beside other busy programs, torch's threads lose their time waiting for each other in a loop: with a shorter loop
# HTDemucs took 13.9 instead of 18.6 s beside two busy processes, and as long as before alone. torch reads this when it
# is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Each public name is imported when it is first used, so that ``import understudy`` takes no time. The stub beside this
# file lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
