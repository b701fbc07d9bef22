"""XXH64 and the 128 bits of XXH3 by libxxhash, for the images of others that carry them.

Source: xxhash.h 0.8, the streaming interface. Python's own library has neither.
"""

import ctypes
from functools import lru_cache

from imaging.errors import IoError

_LIBRARY = "libxxhash.so.0"
_OLDEST_XXH3 = 800
"""0.8.0: from there on XXH3 gives the values that it gives today."""


class _Pair(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise _missing() from error
    if library.XXH_versionNumber() < _OLDEST_XXH3:
        raise _missing()
    for name in ("XXH64_createState", "XXH3_createState"):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("XXH64_freeState", "XXH3_freeState", "XXH64_digest", "XXH3_128bits_digest", "XXH3_128bits_reset"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
    library.XXH64_reset.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
    for name in ("XXH64_update", "XXH3_128bits_update"):
        getattr(library, name).argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
    library.XXH64_digest.restype = ctypes.c_uint64
    library.XXH3_128bits_digest.restype = _Pair
    return library


def _missing() -> IoError:
    return IoError(
        f"{_LIBRARY} of version 0.8 or newer is not installed", code="no-tool", hint="install the package libxxhash0"
    )


class Xxh64:
    """XXH64 with the seed 0; raises IoError (code "no-tool") where the library is missing."""

    def __init__(self) -> None:
        self._library = _library()
        self._state = self._library.XXH64_createState()
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._library.XXH64_reset(self._state, 0)

    def update(self, data: bytes) -> None:
        """Go on with these bytes."""
        self._library.XXH64_update(self._state, data, len(data))

    def digest(self) -> bytes:
        """The value of all so far, lowest byte first."""
        return int(self._library.XXH64_digest(self._state)).to_bytes(8, "little")

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.XXH64_freeState(self._state)


class Xxh128:
    """XXH3's 128 bits; raises IoError (code "no-tool") where the library is missing."""

    def __init__(self) -> None:
        self._library = _library()
        self._state = self._library.XXH3_createState()
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._library.XXH3_128bits_reset(self._state)

    def update(self, data: bytes) -> None:
        """Go on with these bytes."""
        self._library.XXH3_128bits_update(self._state, data, len(data))

    def digest(self) -> bytes:
        """The value of all so far: its lower half first, each with its lowest byte first."""
        pair = self._library.XXH3_128bits_digest(self._state)
        return int(pair.low).to_bytes(8, "little") + int(pair.high).to_bytes(8, "little")

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.XXH3_freeState(self._state)
