"""The payload and its code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.watermark.payload import KINDS, LENGTH, Payload, decode, encode

PAYLOADS = st.builds(Payload, kind=st.sampled_from(KINDS), key=st.integers(0, 255), id=st.integers(0, (1 << 20) - 1))


@given(PAYLOADS)
def test_what_was_encoded_is_decoded(payload: Payload) -> None:
    assert decode(encode(payload).astype(float)) == payload
    assert Payload.of(payload.bits) == payload


@given(PAYLOADS, st.integers(0, 2**32 - 1))
def test_a_quarter_of_wrong_signs_is_corrected(payload: Payload, seed: int) -> None:
    code = encode(payload).astype(float)
    wrong = np.random.default_rng(seed).permutation(LENGTH)[: LENGTH // 4]
    code[wrong] *= -1
    assert decode(code) == payload


def test_noise_is_no_payload() -> None:
    random = np.random.default_rng(1)
    found = [decode(random.standard_normal(LENGTH)) for _ in range(500)]
    # a checksum of 13 bits, a version and a kind let 64 tries pass once in a thousand
    assert sum(payload is not None for payload in found) <= 4


def test_a_faint_payload_is_none() -> None:
    code = encode(Payload("cover", 1, 2)).astype(float)
    assert decode(code, LENGTH) is not None
    assert decode(code, LENGTH + 1) is None


@pytest.mark.parametrize(("key", "id"), [(256, 0), (-1, 0), (0, 1 << 20), (0, -1)])
def test_what_has_no_room_is_refused(key: int, id: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.255"):
        Payload("cover", key, id)
