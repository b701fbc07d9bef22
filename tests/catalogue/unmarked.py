"""Words of rescue that a person reads and that are not marked for translation, found in the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_MARKS = frozenset({"_", "N_", "ngettext", "pgettext"})
_NOT_READ = frozenset({"DEFAULT_CSS", "BINDINGS", "__all__", "ALSO", "SPARING", "_WITHOUT_MARKS"})
"""Names whose strings nobody reads, or which are marked in another way."""
_SAME_EVERYWHERE = frozenset(
    {"Rescue", "English", "Deutsch", "disk file", "bold reverse", "bold ansi_red", "Rescue {}, {}", "{} min {} s"}
)
"""The program's name, languages in their own words, what stands in plans, and styles."""
_PHRASE = re.compile(r"[A-Za-z]{2,}[,.:;]? +(?:[a-z]{2,}|\{\})|^ *[A-Z][a-z]+(?: \.\.)?[.:]?$|\{\}[,:;]? +[a-z]{4,}")
"""Two words in a row, a word beside a place, or a word with a capital letter alone."""


def unmarked(path: Path) -> Iterator[str]:
    """`line: words` for each string that looks like words and is not marked."""
    for node in _read(ast.parse(path.read_text(encoding="utf-8"))):
        words = _words(node)
        if words not in _SAME_EVERYWHERE and not words.startswith("rescue") and _PHRASE.search(words):
            yield f"{getattr(node, 'lineno', 0)}: {words!r}"


def _read(node: ast.AST) -> Iterator[ast.AST]:
    """All strings below a node, but for docstrings, types, what is marked, errors, and what nobody reads."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())) | ast.arg():
            return
        case ast.Call(func=ast.Name(id=name)) if name in _MARKS or name.endswith("Error") or name == "compile":
            return
        case ast.Call(func=ast.Attribute(attr="compile")):
            return
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if name in _NOT_READ:
            return
        case ast.Constant(value=str()):
            yield node
        case ast.JoinedStr(values=values):
            yield node
            for value in values:
                if isinstance(value, ast.FormattedValue):
                    yield from _read(value.value)
        case ast.FunctionDef(body=body, decorator_list=decorators):
            for child in [*body, *decorators]:
                yield from _read(child)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _read(child)


def _words(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=values):
            return "".join(str(value.value) if isinstance(value, ast.Constant) else "{}" for value in values)
        case _:
            return ""
