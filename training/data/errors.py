"""The one error of the data readers."""

__all__ = ["DataError", "field_error"]


class DataError(ValueError):
    """Refuse a recording, an archive or a data set name, in one line that names the remedy."""


def field_error(where, field, problem):
    """Build the error for one field of one file.

    Parameters
    ----------
    where : str or path-like
        File, or name of the archive in memory.
    field : str
        Name of the field as it is spelled in the file.
    problem : str
        What is wrong, the first bad index and the remedy.

    Returns
    -------
    DataError
        Not raised yet.
    """
    return DataError(f"{where}: field '{field}' {problem}")
