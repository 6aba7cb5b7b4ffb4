"""The artwork of the demo song: a spotlight on a dark stage, computed from formulas and written as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIZE = 320


def cover_picture(seed: int) -> bytes:
    """A PNG (ISO/IEC 15948) of `SIZE` × `SIZE` pixels, eight bits per channel."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    picture = np.empty((SIZE, SIZE, 3))
    folds = 0.5 + 0.5 * np.sin(2 * np.pi * (9 * x + 0.25 * np.sin(2 * np.pi * y)))  # the curtain
    picture[:] = np.array([0.30, 0.04, 0.08]) * (0.35 + 0.65 * folds[..., None]) * (1.1 - 0.6 * y[..., None])
    floor = y > 0.78
    picture[floor] = (
        np.array([0.16, 0.10, 0.07]) * (0.8 + 0.2 * (np.sin(60 * (x[floor] - 0.5) / y[floor]) > 0))[:, None]
    )
    beam = np.clip(1 - np.abs(x - 0.5) / (0.04 + 0.27 * y), 0, 1) * (y < 0.86)
    pool = np.clip(1 - ((x - 0.5) / 0.3) ** 2 - ((y - 0.86) / 0.06) ** 2, 0, 1)
    picture += (0.35 * beam + 0.7 * pool)[..., None] * np.array([1.0, 0.92, 0.7])
    head = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.05**2
    body = (np.abs(x - 0.5) < 0.055 + 0.10 * (y - 0.56)) & (y > 0.56) & (y < 0.86)
    picture[head | body] = (0.03, 0.02, 0.05)
    picture += random.normal(0, 0.004, (SIZE, SIZE, 1))
    pixels = (np.clip(picture, 0, 1) ** 0.8 * 63).astype(np.uint8) * 4
    rows = np.concatenate([np.zeros((SIZE, 1), np.uint8), pixels.reshape(SIZE, -1)], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
