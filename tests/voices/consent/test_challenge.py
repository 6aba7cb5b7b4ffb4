"""A challenge: a phrase that nobody has heard, answered once and in time, by a recording that says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support.library_voices import recorded_voice
from tests.support.recording_takes import take, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.consent import challenge, phrase
from understudy.voices.consent.log import ConsentLog
from understudy.voices.consent.recording import Answer, Known, examine


def test_phrases_differ_and_their_words_are_known() -> None:
    made = [phrase.made_up() for _ in range(20)]
    assert len(set(made)) == 20
    for text in made:
        assert text.count(".") == phrase.SENTENCES
        assert all(phrase._phones(word) for word in phrase.words_of(text))
    compared = [word for word in phrase.words_of(made[0]) if len(phrase._phones(word)) >= phrase.LEAST_PHONES]
    assert len(compared) >= 12


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "work").mkdir()
    return Context(tmp_path / "work")


def test_a_challenge_is_answered_once(tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "library"
    identity = recorded_voice(root).manifest.identity
    recording = write(tmp_path / "answer.wav", take(5))
    outcome = [UnderstudyError("consent-recording-wrong-words", "Other words.", "Again.")]
    # the state of a challenge doesn't depend on what is wrong with a recording
    monkeypatch.setattr(challenge, "examine", lambda *_: Answer(outcome.pop() if outcome else None, {"words": 0.1}))
    monkeypatch.setattr(challenge, "decoded", lambda *_: [take(6)])

    def code() -> str:
        with pytest.raises(UnderstudyError) as refused:
            challenge.answer(root, "nova", recording, context)
        return refused.value.code

    assert code() == "challenge-missing"
    first = challenge.make(root, "nova").details["phrase"]
    assert code() == "consent-recording-wrong-words"
    assert code() == "challenge-missing"
    assert challenge.make(root, "nova").details["phrase"] != first
    library.rename(root, "nova", "nora")
    library.rename(root, "nora", "nova")
    assert challenge.answer(root, "nova", recording, context).manifest.consent_level == "verified"
    assert code() == "challenge-missing"
    entries = ConsentLog(root).read()
    refused = next(entry for entry in entries if entry.decision == "refused")
    assert refused.details["reason"] == "consent-recording-wrong-words"
    challenge.make(root, "nova")
    entries = ConsentLog(root).read()
    now = datetime.now(UTC)
    challenge.pending(entries, identity, now)
    for late in (now + timedelta(minutes=challenge.MINUTES, seconds=1), now - timedelta(hours=1)):
        with pytest.raises(UnderstudyError) as expired:
            challenge.pending(entries, identity, late)
        assert expired.value.code == "challenge-expired"


def test_recordings_that_say_nothing_like_it(context: Context) -> None:
    own = Known.of([take(6)])
    wanted = phrase.made_up()

    def refusal(sound: Audio) -> str:
        found = examine(context, sound, wanted, own).refusal
        assert found is not None
        return found.code.removeprefix("consent-recording-")

    assert refusal(take(2)) == "short"
    assert refusal(Audio(np.zeros((1, 61 * 8000), np.float32), 8000)) == "long"
    assert refusal(Audio(np.zeros((1, 8 * 16000), np.float32), 16000)) == "silent"
    assert refusal(take(8)) == "wrong-words"
