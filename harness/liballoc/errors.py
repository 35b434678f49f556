"""The errors that end a command, each with the exit status that the command line documents.

0 fine, 1 a check failed, 2 usage (also bad input files), 3 a tool is missing.
"""


def one_line(text: str) -> str:
    """Text as a terminal shows it in one line: what is not printable is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class LiballocError(Exception):
    """Ends a command with one line on stderr; raise a subclass, which has the exit status."""

    exit_status = 1


class CheckFailedError(LiballocError):
    """Something that was looked at is not as it must be."""

    exit_status = 1


class UsageError(LiballocError):
    """The user's input cannot be used: flags, names, files."""

    exit_status = 2


class ToolMissingError(LiballocError):
    """A program or package that the command needs is not on this machine."""

    exit_status = 3
