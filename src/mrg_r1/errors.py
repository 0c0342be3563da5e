"""The errors a user can cause.

Each message says what is wrong, where, and what to type, on one line. The command line prints it
bare and exits with code 2; every other exception keeps its traceback.
"""


class MrgError(Exception):
    """Base of every error that a user can mend."""


class ConfigError(MrgError):
    """A recipe or a command line that cannot be carried out as written."""


class DataError(MrgError):
    """A file, image or row that cannot be used."""


class WrongType(DataError):
    """A file that is none of the types which are read."""


class TooLarge(DataError):
    """A file over a limit of its size."""


class MissingExtra(MrgError):
    """A feature whose optional packages are not installed."""
