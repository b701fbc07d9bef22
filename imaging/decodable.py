"""Classes that msgspec turns JSON into: it learns what they consist of when they are made, not when one is first used.

It learns that once for each class, at the first use, and remembers it before it knows all of it. Threads take turns in
between, for part of that is Python code: another thread that uses the class just then gets a null pointer for the type
of a field, and the whole process dies. Source: StructInfo_Convert and DataclassInfo_Convert in msgspec's _core.c,
0.22; it locks them in free-threaded builds of Python alone.
"""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decodable(kind: type[T]) -> type[T]:
    """Decorate a class that is given to `msgspec.convert` or `decode`; those of its fields are made ready with it.

    For classes of a module, which are made before anybody has threads.
    """
    msgspec.json.Decoder(kind)
    return kind
