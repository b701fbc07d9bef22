"""A page to read: what it is of, and its lines."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Plain text that may be longer than a screen."""

    title: str
    lines: tuple[str, ...]
