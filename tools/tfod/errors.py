"""What goes wrong because of the input, said in one line with its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


class UserError(Exception):
    """Input that cannot be used: which file, what is wrong with it, and what to do about it.

    The command line prints it as one line and exits with code 2.
    """

    def __init__(self, path: Path | str, what: str, remedy: str) -> None:
        self.path, self.what, self.remedy = path, what, remedy
        super().__init__(f"{path}: {what}. {remedy}.")

    def __reduce__(self):
        """Pickles with the arguments of `__init__`; workers hand their errors over that way."""
        return type(self), (self.path, self.what, self.remedy)


class BadFilesError(UserError):
    """Every unusable file of a batch at once.

    Attributes:
      errors: one `UserError` a fault, in file order.
    """

    def __init__(
        self,
        folder: Path | str,
        errors: Sequence[UserError],
        remedy: str = "Mend them, or leave them out with --skip-bad",
    ) -> None:
        self.errors = tuple(errors)
        kinds = Counter(error.kind if isinstance(error, FileFault) else "other" for error in errors)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        files = len({str(error.path) for error in errors})
        super().__init__(
            folder,
            f"{files} unusable file{'s' if files > 1 else ''} ({counts})",
            remedy,
        )

    def __reduce__(self):
        return type(self), (self.path, self.errors, self.remedy)


class FileFault(UserError):
    """A fault of one file that a batch counts by kind, such as "image missing"."""

    def __init__(self, path: Path | str, kind: str, what: str, remedy: str) -> None:
        self.kind = kind
        super().__init__(path, what, remedy)

    def __reduce__(self):
        return type(self), (self.path, self.kind, self.what, self.remedy)


def quoted(text: str) -> str:
    """Text of a file for a message: in quotes, control characters escaped, not endless."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
