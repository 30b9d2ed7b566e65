"""What the tools say to their user when they cannot go on: one sentence, what to do next, and no traceback."""


class UserError(Exception):
    """Ends the tool with `status`; the message is for the user as it is."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
