"""What is kept out of training to evaluate the model on: whole recordings where there are enough, since a network also
learns the room and the moment of a recording."""

from __future__ import annotations

from collections.abc import Sequence

SHARE = 0.1  # of all sound
LEAST = 30.0  # seconds
MOST = 0.25  # of all sound: with less than two minutes there are no 30 s to spare


def hold_out(durations: Sequence[float]) -> tuple[float, ...]:
    """How many seconds to hold out at the end of each recording: none, all or a part. `durations`: seconds of usable
    sound in each.

    A tenth of all sound, and at least 30 s as long as that is no more than a quarter. Of three and more recordings some
    are held out whole, in all less than twice as much as wanted; of fewer, and where all are too long for that, the end
    of the longest.
    """
    total = sum(durations)
    wanted = min(max(SHARE * total, LEAST), MOST * total)
    held = [0.0] * len(durations)
    filled = [number for number, duration in enumerate(durations) if duration > 0]
    if wanted <= 0:
        return tuple(held)
    longest_first = sorted(filled, key=lambda number: -durations[number])
    if len(filled) > 2:
        some = [number for number in longest_first if durations[number] < wanted]
        if sum(durations[number] for number in some) >= wanted:
            for number in some:
                if sum(held) < wanted:
                    held[number] = durations[number]
            return tuple(held)
        shortest = min((number for number in filled if durations[number] >= wanted), key=durations.__getitem__)
        if durations[shortest] < 2 * wanted:
            held[shortest] = durations[shortest]
            return tuple(held)
    held[longest_first[0]] = wanted
    return tuple(held)
