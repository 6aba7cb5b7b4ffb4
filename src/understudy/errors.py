"""The one base exception of the whole program.

Every error that a user can cause or mend is an `UnderstudyError`: a stable machine-readable `code`,
a message that says what is wrong and a hint that says what to do. The command line prints the two as
two lines and exits non-zero; the HTTP API returns them as RFC 9457 problem details.
"""

from __future__ import annotations


class UnderstudyError(Exception):
    """Something is wrong that its reader can act on.

    `code` is lower-case words joined by hyphens, e.g. ``file-not-found``; it never changes once released.
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
    """The user or the caller asked for the work to stop."""

    def __init__(
        self,
        code: str = "cancelled",
        message: str = "The work was cancelled.",
        hint: str = "Run the same command again: finished stages are kept and not repeated.",
    ) -> None:
        super().__init__(code, message, hint)
