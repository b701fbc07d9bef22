"""Classes that JSON is turned into are ready before threads use them; each test is a process that has used none yet."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANSWER = Path(__file__).with_name("smartctl") / "sata-good.json"

# A second disk's answer comes while the classes of the first one's are being learned: msgspec asks its own function
# for the fields of each class, the outermost first.
TWO_DISKS = """
import sys, threading
from msgspec import _utils
from imaging.health import parse

answer, learn = open(sys.argv[1]).read(), _utils._get_class_mro_and_typevar_mappings
midway, other_parsed, learned = threading.Event(), threading.Event(), []

def learn_slowly(kind):
    learned.append(kind)
    if len(learned) == 2:
        midway.set()
        other_parsed.wait()
    return learn(kind)

def first_disk():
    parse(answer, 0)
    midway.set()

_utils._get_class_mro_and_typevar_mappings = learn_slowly
thread = threading.Thread(target=first_disk)
thread.start()
midway.wait()
parse(answer, 0)
other_parsed.set()
thread.join()
"""

# Every class that is named in a call that turns JSON into it, looked up in its module.
ALL_CALLS = """
import ast, importlib, sys
from pathlib import Path
import msgspec
from msgspec import _utils

ELSEWHERE = {"type(rule)"}  # of a factory mark: imaging.notes.Notes has both kinds

def kinds(tree):
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        match ast.unparse(call.func):
            case "msgspec.convert":
                yield call.args[1]
            case "msgspec.json.Decoder":
                yield call.args[0]
            case "msgspec.json.decode":
                yield from (word.value for word in call.keywords if word.arg == "type")

asked = [
    (path, kind)
    for path in [*Path("imaging").glob("*.py"), *Path("rescue").rglob("*.py")]
    if path.name != "decodable.py"
    for kind in kinds(ast.parse(path.read_text()))
]
modules = {path: importlib.import_module(".".join(path.with_suffix("").parts)) for path, _ in asked}
learned, learn = [], _utils._get_class_mro_and_typevar_mappings
_utils._get_class_mro_and_typevar_mappings = lambda kind: learned.append(kind) or learn(kind)

class Probe(msgspec.Struct):
    field: int

msgspec.json.Decoder(Probe)
assert learned == [Probe], "msgspec does not learn classes by that function any more"
assert len(asked) > 15, asked
for path, kind in asked:
    if (name := ast.unparse(kind)) not in ELSEWHERE:
        msgspec.json.Decoder(eval(name, vars(modules[path])))
sys.exit(" ".join(f"{kind.__module__}.{kind.__qualname__} is not @decodable" for kind in learned[1:]) or None)
"""


def python(script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """A script in a process of its own, in the project's folder."""
    argv = [sys.executable, "-c", script, *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_two_disks_that_answer_at_the_same_time_do_not_crash_the_program() -> None:
    done = python(TWO_DISKS, str(ANSWER))
    assert done.returncode == 0, done.stderr


def test_all_that_json_is_turned_into_is_ready_once_the_modules_are_loaded() -> None:
    done = python(ALL_CALLS)
    assert done.returncode == 0, done.stderr
