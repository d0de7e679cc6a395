"""The one exception that the command line turns into a sentence and an exit code."""


class SuperpodError(Exception):
    """What went wrong, in one sentence a user can act on."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
