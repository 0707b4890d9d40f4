"""What no file from outside may reach: nothing that the packages import or call can run code that a file brings."""

from __future__ import annotations

import ast
from functools import cache

from tests.support.documents import ROOT

PACKAGES = ("worker", "dicom_io", "model", "migrations")
MODULES = sorted(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: Formats that run code when they are read. One file reads pickled tables by an unpickler that knows numbers alone.
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tarfile", "yaml"}
ALLOWED = {("model/network/start_weights.py", "pickle")}
#: A call by its last name, and the argument it must have.
GUARDED = {"load_model": ("safe_mode", True)}
#: Names whose call runs text as code.
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def calls(module: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def argument(call: ast.Call, name: str) -> object:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    value = given.get(name)
    return value.value if isinstance(value, ast.Constant) else None


def test_no_module_reads_a_format_that_runs_code():
    assert {(module, name) for module in MODULES for name in imported(module) & FORBIDDEN} == ALLOWED


def test_no_module_runs_text_as_code_or_by_a_shell():
    guilty = [
        f"{module}:{call.lineno}"
        for module in MODULES
        for call in calls(module)
        if name_of(call) in RUNS_TEXT or argument(call, "shell")
    ]
    assert not guilty


def test_arrays_and_networks_are_opened_without_objects_of_python():
    guilty = [f"{module}:{call.lineno}" for module in MODULES for call in calls(module) if is_unguarded(call)]
    assert not guilty


def is_unguarded(call: ast.Call) -> bool:
    last = name_of(call).rpartition(".")[2]
    if name_of(call) in ("np.load", "numpy.load"):
        return argument(call, "allow_pickle") is not False
    return last in GUARDED and argument(call, GUARDED[last][0]) is not GUARDED[last][1]


def test_the_rules_find_what_they_forbid():
    guilty = ast.parse("import pickle\nnp.load(path)\nload_model(path)\neval(text)\nrun(command, shell=True)")
    found = [node for node in ast.walk(guilty) if isinstance(node, ast.Call)]
    assert {name_of(call) for call in found} == {"np.load", "load_model", "eval", "run"}
    assert [argument(call, "shell") for call in found if name_of(call) == "run"] == [True]
    assert [name_of(call) for call in found if is_unguarded(call)] == ["np.load", "load_model"]
