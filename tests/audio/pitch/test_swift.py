from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from pathlib import Path
from understudy.audio.pitch.swift import track_swift
from understudy.audio.pitch.tracker import RATE, PitchSettings
from understudy.memory import return_freed_memory

def held():
    return_freed_memory()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024

phase = 2 * np.pi * 220 * np.arange(24 * RATE) / RATE
tone = sum(0.1 * np.sin(number * phase) / number for number in range(1, 9)).astype(np.float32)
track_swift(tone[:RATE], PitchSettings(), "cpu")
before = held()
f0 = track_swift(tone, PitchSettings(), "cpu")
print(np.median(f0), held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_memory_stays_behind() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    pitch, held = map(float, done.stdout.split())
    assert pitch == pytest.approx(220, abs=1)
    assert held < 20
