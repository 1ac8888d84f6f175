"""Errors caused by the user's input. Each is one line: the problem and its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


class UserError(Exception):
    """Input that cannot be used.

    The command line prints it as one line and exits with code 2.

    Attributes:
      path: the file, folder or option that has the problem.
      what: the problem.
      remedy: what to do about it.
    """

    def __init__(self, path: Path | str, what: str, remedy: str) -> None:
        self.path, self.what, self.remedy = path, what, remedy
        super().__init__(f"{path}: {what}. {remedy}.")

    def __reduce__(self):
        """Pickles the arguments of `__init__`: worker processes return their errors pickled."""
        return type(self), (self.path, self.what, self.remedy)


class BadFilesError(UserError):
    """All unusable files of a batch in one error.

    Attributes:
      errors: one `UserError` per fault, in file order.
    """

    def __init__(
        self,
        folder: Path | str,
        errors: Sequence[UserError],
        remedy: str = "Fix them, or skip them with --skip-bad",
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
    """A fault of one file in a batch.

    Attributes:
      kind: the kind of fault, by which a batch counts its faults, such as "image missing".
      fixable: `tfod convert --fix` can repair it.
    """

    def __init__(
        self, path: Path | str, kind: str, what: str, remedy: str, fixable: bool = False
    ) -> None:
        self.kind, self.fixable = kind, fixable
        super().__init__(path, what, remedy)

    def __reduce__(self):
        return type(self), (self.path, self.kind, self.what, self.remedy, self.fixable)


def quoted(text: str) -> str:
    """Quotes text from a file for a message: control characters escaped, at most 60 characters."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
