"""What an examination found."""

from dataclasses import dataclass

GOOD, LESS, BAD = "yes", "less", "no"


@dataclass(frozen=True)
class Finding:
    """One line of what the doctor says."""

    subject: str
    verdict: str  # GOOD: works; LESS: works, and gains less; BAD: does not work
    text: str  # what was found, and what follows from it
    remedy: str = ""  # what to do; empty where there is nothing to do
