"""Where the windows of a song lie, and how they fade into each other.

A layout is a plain function of the number of frames of the song, the window and the step. Whatever it is, windows come
in order and together cover the song; the inference weights them with the network's fade and divides by the sum of the
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

OVERLAP = 0.25
"""Share of a window that overlaps with the next one. A network is least accurate at a window's edges, where it lacks
context; the more of a window overlaps, the more is computed twice."""


@dataclass(frozen=True)
class Place:
    """A window that begins at frame `start` of the song (which may be before it; silence is read there and past its
    end). Of its result `frames` frames are used, those from `skip` on, with the fade's weights from its frame `faded`
    on."""

    start: int
    frames: int
    skip: int = 0
    faded: int = 0

    @property
    def first(self) -> int:
        """The song's frame at which the part that is used begins."""
        return self.start + self.skip


Layout = Callable[[int, int, int], Iterator[Place]]
"""(frames of the song, of the window, of the step) -> the windows, by ascending `Place.first`."""


def aligned(frames: int, window: int, step: int) -> Iterator[Place]:
    """From the song's beginning on; the last window ends where the song does, however much it overlaps with the one
    before. A song shorter than a window is followed by silence."""
    for start in range(0, frames, step):
        if start + window >= frames:
            yield Place(max(0, frames - window), min(window, frames))
            return
        yield Place(start, window)


def leading(lead: int) -> Layout:
    """The first window begins `lead` frames before the song, and the last one ends at least as much after it: for
    networks that are less accurate at a window's ends than in its middle."""

    def places(frames: int, window: int, step: int) -> Iterator[Place]:
        for start in range(-lead, frames, step):
            yield clipped(Place(start, window), frames)
            if start + window - lead >= frames:
                return

    return places


def centred(core: int) -> Layout:
    """Every `step` frames, `core` frames count, in the middle of their window (of what is left at the song's end, as
    much), with sound from before them and silence after the song (as Demucs does)."""

    def places(frames: int, window: int, step: int) -> Iterator[Place]:
        for start in range(0, frames, step):
            left = min(core, frames - start)
            before = (window - left) // 2
            yield Place(start - before, left, before)

    return places


def shifted(places: Iterator[Place], offset: int, frames: int) -> Iterator[Place]:
    """The windows `offset` frames earlier, without what then counts outside of the song of `frames` frames."""
    for place in places:
        moved = clipped(Place(place.start - offset, place.frames, place.skip, place.faded), frames)
        if moved.frames > 0:
            yield moved


def clipped(place: Place, frames: int) -> Place:
    """Only as much of a window as lies within a song of `frames` frames."""
    before = max(0, -place.first)
    after = max(0, place.first + place.frames - frames)
    return Place(place.start, place.frames - before - after, place.skip + before, place.faded + before)


def edges_faded(window: int, overlap: float = OVERLAP) -> Tensor:
    """The weights of a window's frames, float32 ``[window]``: 1 in the middle, a squared sine over the share `overlap`
    at either end, so that nothing jumps where another window begins or ends. Above zero everywhere."""
    import torch

    count = max(1, min(window // 2, round(window * overlap)))
    rise = torch.sin((torch.arange(count, dtype=torch.float64) + 0.5) * (torch.pi / 2 / count)) ** 2
    fade = torch.ones(window)
    fade[:count] = rise
    fade[window - count :] = rise.flip(0)
    return fade
