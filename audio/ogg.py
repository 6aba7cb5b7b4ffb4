"""The structure of Ogg files (RFC 3533): pages, and the links of a chain, each with its own rate and channels."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

_PAGE = b"OggS"
_FIRST_PAGE = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")  # by its flags the first of a stream
_END = 4  # the flag of the last page of a stream
_MOST_LINKS = 1000


def links(path: Path) -> list[tuple[int, int]]:
    """Begin and end in bytes of each link of the Ogg file at `path`: pages that begin streams, and what follows up to
    the next such pages. Empty for other files; the last link takes what is left after `_MOST_LINKS`."""
    with path.open("rb") as file:
        if file.read(4) != _PAGE:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            begins, after = [], -1
            for match in _FIRST_PAGE.finditer(content):
                if match.start() != after:  # several streams side by side begin with adjacent pages
                    begins.append(match.start())
                after = _page_end(content, match.start())
            begins = begins[:_MOST_LINKS]
            return list(zip(begins, [*begins[1:], len(content)], strict=True))


def _page_end(content: mmap.mmap, start: int) -> int:
    segments = content[start + 26] if start + 26 < len(content) else 0
    return start + 27 + segments + sum(content[start + 27 : start + 27 + segments])


def lacks_end_mark(path: Path) -> bool:
    """Whether the file at `path` is Ogg and its last whole page is not marked as the end of its stream."""
    with path.open("rb") as file:
        if file.read(4) != _PAGE:
            return False
        file.seek(max(0, file.seek(0, 2) - (1 << 17)))  # a page has at most 65307 bytes
        tail = file.read()
    last = tail.rfind(_PAGE)
    return last < 0 or last + 5 >= len(tail) or not tail[last + 5] & _END
