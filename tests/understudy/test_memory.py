from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from pathlib import Path
import numpy as np
from understudy.memory import return_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

blocks = [np.ones(8000) for _ in range(3200)]  # 195 MiB, each too small to be a mapping of its own
held = blocks[-1]
del blocks
before = resident()
return_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps freed memory so")
def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150
