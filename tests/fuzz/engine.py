"""The process that atheris takes over: `python -m tests.fuzz.engine TARGET LIBFUZZER-ARGUMENTS...`."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from tests.fuzz.targets import Target


def main() -> None:
    """Fuzz one target until libFuzzer ends; it ends the process itself."""
    with atheris.instrument_imports(include=["imaging"]):
        found: Target = import_module("tests.fuzz.targets").TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], found.try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
