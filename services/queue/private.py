"""The files of a server are its user's alone: nobody else on the machine reads the songs and voices of its owners."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from understudy.disk import explained


def keep_private(data: Path) -> None:
    """Make the folder `data` if need be and close it to other users, as every file that this process makes from now on,
    wherever it is. A folder of another user or one that all may write to, such as ``/tmp``, stays as it is."""
    os.umask(0o077)
    try:
        data.mkdir(parents=True, exist_ok=True)
        about = data.stat()
        if os.name == "posix" and about.st_uid == os.geteuid() and not about.st_mode & stat.S_ISVTX:
            data.chmod(0o700)
    except OSError as error:
        raise explained(data, error) from error
