"""What the kernel command line tells Rescue: words such as `rescue.lang=de`.

Quotes hold blanks together, as the kernel has it: next_arg in its lib/cmdline.c. GRUB puts a backslash before those
that came to it in a variable.
"""

from pathlib import Path

PATH = Path("/proc/cmdline")


def value(name: str) -> str:
    """What stands after `name=`, the last time where it stands there twice; empty where it does not."""
    return next(reversed(values(name)), "")


def values(name: str) -> tuple[str, ...]:
    """All that stand after `name=`, in their order."""
    try:
        line = PATH.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(word.partition("=")[2] for word in words(line) if word.startswith(f"{name}="))


def words(line: str) -> tuple[str, ...]:
    """The words of a command line, without their quotes: boot loaders put them round the value or round all of it."""
    found, word, quoted = [], "", False
    for character in line.rstrip().replace('\\"', '"'):
        if character == '"':
            quoted = not quoted
        elif character.isspace() and not quoted:
            found.append(word)
            word = ""
        else:
            word += character
    return tuple(filter(None, [*found, word]))
