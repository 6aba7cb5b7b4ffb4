"""`UnderstudyError`: the base class of every error that a user can cause or correct.

The command line prints its message and hint as two lines and exits non-zero; the HTTP API returns them as problem
details (RFC 9457); the Python API raises it.
"""

from __future__ import annotations


class UnderstudyError(Exception):
    """An error with a `code` for programs, a `message` that says what is wrong, and a `hint` that says what to do.

    `code`: lower-case words joined by hyphens, e.g. ``file-not-found``; it does not change once it is released.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"

    def __reduce__(self) -> tuple[type[UnderstudyError], tuple[str, str, str]]:
        return type(self), (self.code, self.message, self.hint)  # survives a process boundary


class Cancelled(UnderstudyError):
    """The work was stopped by its caller."""

    def __init__(self, *_: str) -> None:  # the code, message and hint when it is unpickled
        hint = "Run the same command again: finished stages are not repeated."
        super().__init__("cancelled", "The work was cancelled.", hint)


class RenamedSetting(FutureWarning):
    """A setting was given by its old name, which the next release won't accept."""
