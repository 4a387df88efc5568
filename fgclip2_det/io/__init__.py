"""Text and JSON files of various encodings, digests, atomic writes."""


class InputError(ValueError):
    """An input that cannot be used; its message names the file, the entry at fault and
    the remedy. Readers raise it for whatever happens in a library that reads for them.
    """

    status = 2  # exit status of a command


class IncompleteError(InputError):
    """Some inputs cannot be used; what was asked for is done for the others."""

    status = 1
