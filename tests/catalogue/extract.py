"""What is to be translated: words that rescue marks, and the messages of imaging as templates.

The errors that rescue raises are taken as those of imaging are: they stay English for `--json`, and are translated
where they are shown.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from babel.messages.catalog import Catalog

from imaging import errors
from rescue.telling import ALSO, CONTEXT

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_WORDS = Path(__file__).with_name("not-words.txt")
"""Strings of imaging with a blank in them that nobody reads."""

_FEWEST = 4
"""Letters of a template outside of its places; what has fewer says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A string of imaging: a message, or its template."""

    words: str
    file: str
    line: int


def catalogue(language: str | None = None) -> Catalog:
    """All that is to be translated."""
    found = Catalog(locale=language, project="rescue", charset="utf-8", fuzzy=False)
    for path in sorted((CHECKOUT / "rescue").rglob("*.py")):
        for message, context in _marked(path):
            found.add(message, locations=[(str(path.relative_to(CHECKOUT)), 0)], context=context)
    for said in engine():
        found.add(said.words, locations=[(said.file, 0)], context=CONTEXT)
    return found


def _marked(path: Path) -> Iterator[tuple[str | tuple[str, str], str | None]]:
    """What is marked, with its context. Babel's own extraction passes over marks inside of f-strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="_" | "N_"), args=[ast.Constant(value=str(words))]):
                yield words, None
            case ast.Call(
                func=ast.Name(id="ngettext"),
                args=[ast.Constant(value=str(one)), ast.Constant(value=str(many)), _],
            ):
                yield (one, many), None
            case ast.Call(
                func=ast.Name(id="pgettext"), args=[ast.Constant(value=str(context)), ast.Constant(value=str(words))]
            ):
                yield words, context


def engine() -> list[Said]:
    """The messages of imaging and the errors of rescue, each once, in the order of their files."""
    left_out = set(NOT_WORDS.read_text(encoding="utf-8").splitlines())
    known: dict[str, Said] = {}
    for path in [*sorted((CHECKOUT / "imaging").glob("*.py")), *sorted((CHECKOUT / "rescue").rglob("*.py"))]:
        for said in _strings(path, errors_only=not path.is_relative_to(CHECKOUT / "imaging")):
            if said.words not in left_out:
                known.setdefault(said.words, said)
    for words in ALSO:
        known.setdefault(words, Said(words=words, file="rescue/telling.py", line=0))
    return list(known.values())


def templates() -> str:
    """The file that rescue.telling reads."""
    return "".join(f"{said.words}\n" for said in engine())


def _strings(path: Path, *, errors_only: bool) -> Iterator[Said]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    file = str(path.relative_to(CHECKOUT))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    roots = [node for node in ast.walk(tree) if _is_error(node)] if errors_only else [tree]
    for node in (node for root in roots for node in ast.walk(root)):
        words = _words(node, parents)
        if _says_something(words):
            yield Said(words=words, file=file, line=getattr(node, "lineno", 0))


def _is_error(node: ast.AST) -> bool:
    """Whether this makes one of the errors that are reported to a person."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name.endswith("Error") and name in vars(errors)
        case _:
            return False


def _words(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    match node:
        case ast.JoinedStr():
            return _template(node)
        case ast.Constant(value=str(words)) if not isinstance(parents[node], (ast.Expr, ast.JoinedStr)):
            return words
        case _:
            return ""


def _says_something(words: str) -> bool:
    plain, inside = [], False
    for char in words:
        inside = char == "{" or (inside and char != "}")
        if not inside and char.isalpha():
            plain.append(char)
    return " " in words.strip() and "\n" not in words and len(plain) >= _FEWEST


def _template(node: ast.JoinedStr) -> str:
    """An f-string with named places: `{self.pair.target.name}` becomes `{name}`, a second one `{name2}`."""
    parts, names = [], set()
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts.append(str(value.value))
            continue
        name = wanted = _name(value)
        count = 1
        while name in names:
            count += 1
            name = f"{wanted}{count}"
        names.add(name)
        parts.append("{" + name + "}")
    return "".join(parts)


def _name(node: ast.AST) -> str:
    match node:
        case ast.FormattedValue(value=value) | ast.Subscript(value=value) | ast.BinOp(left=value):
            return _name(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(args=[first, *_]):
            return _name(first)
        case ast.Call(func=function):
            return _name(function)
        case _:
            return "value"
