"""The errors that a user can mend, told in one line."""


class UsageError(ValueError):
    """What was asked cannot be done; the message says what was expected, and the choices."""
