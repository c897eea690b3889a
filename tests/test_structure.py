"""The house rules that a program can check. See CONTRIBUTING.md."""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("kexue_keras", "recipes", "tests")

# Modules without a test file of the same name, and where their tests are.
TESTED_ELSEWHERE: dict[str, str] = {}

# Private names that others than their own file may use.
ACCEPTED = {
    "_asdict": "public in a NamedTuple, where the underscore avoids the names of fields",
    "_fields": "likewise",
    "_replace": "likewise",
    "_is_special": "bert4keras's, in the program that runs it",
    "_keras_mask": "tests look at the mask that a layer attached; Keras has no other name for it",
    "_learning_rate": "tests look at an optimizer's schedule; `learning_rate` is its value now",
    "_trans": "bert4keras's, in the program that runs it",
    **{
        f"_token_{name}": "bert4keras's, in programs for it"
        for name in ("start_id", "end_id", "mask_id", "pad_id", "unk_id", "dict", "end")
    },
    "_vocab_size": "likewise",
}

BACKEND = ("kexue_keras/backend/", "tests/backend/")

# Names inside Keras that only these may use, even on `self`.
KERAS_INTERNALS = {
    "_compile_loss",
    "_flat_losses",
    "_flatten_layers",
    "_inbound_nodes",
    "_keras_history",
    "_loss_tracker",
    "_self_setattr_tracking",
    "_symbolic_build",
    "_tracker",
    "_value",
    "_y_pred_build_structure",
    "jax_state_sync",
}

# These run without a deep-learning framework: data, text, rules.
PURE = (
    "decoding.prefix_tree",
    "equations",
    "files",
    "patterns",
    "tokenizers",
    "xiangqi.board",
    "xiangqi.moves",
    "xiangqi.notation",
    "xiangqi.players",
    "datasets.lines",
    "datasets.readers",
    "datasets.split",
)


@functools.cache
def source(*folders):
    """`(path, text, syntax tree)` of the Python files in the folders."""
    found = []
    for folder in folders or FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            found.append((name, text, ast.parse(text)))
    return found


def nodes(kind, *folders):
    """`(place, file, node)` of all nodes of a kind of syntax."""
    for name, _, tree in source(*folders):
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield f"{name}:{node.lineno}", name, node


def imports(*folders):
    """`(place, file, full name, last name)` of everything imported."""
    for place, name, node in nodes((ast.Import, ast.ImportFrom), *folders):
        for alias in node.names:
            module = getattr(node, "module", None)
            yield place, name, f"{module}.{alias.name}" if module else alias.name, alias.name


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@functools.cache
def attributes():
    """`(place, file, owner, name)` of attributes that are read or set, also by their names.

    The owner is written out where it is a name or a call without arguments, as `super()`.
    """
    found = []
    for place, file, node in nodes((ast.Attribute, ast.Call)):
        if isinstance(node, ast.Attribute):
            found.append((place, file, owner_of(node.value), node.attr))
        elif isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.append((place, file, owner_of(node.args[0]), name.value))
    return found


def owner_of(node):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        return f"{node.func.id}()"
    return node.id if isinstance(node, ast.Name) else "..."


@functools.cache
def own_names(file):
    """Names that a file defines or sets as attributes of `self`."""
    path = ROOT / file
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else ():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def module_of_test(file):
    """`kexue_keras/a/b.py` of `tests/a/test_b.py`."""
    return file.replace("tests/", "kexue_keras/", 1).replace("/test_", "/")


def test_no_file_is_longer_than_400_lines():
    lengths = {name: len(text.splitlines()) for name, text, _ in source()}
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_the_root_of_the_library_has_at_most_eight_modules():
    assert len(list((ROOT / "kexue_keras").glob("*.py"))) <= 8


def test_every_module_has_a_test_file():
    absent = []
    for name, _, _ in source("kexue_keras"):
        folder, _, file = name.removeprefix("kexue_keras").rpartition("/")
        path = f"tests{folder}/test_{file}"
        if file != "__init__.py" and not (ROOT / path).is_file() and name not in TESTED_ELSEWHERE:
            absent.append(path)
    assert not absent
    for name, path in TESTED_ELSEWHERE.items():
        assert (ROOT / name).is_file() and (ROOT / path).is_file(), name


def test_only_the_backend_touches_the_inside_of_keras():
    found = [
        f"{place}: {full}"
        for place, file, full, _ in imports()
        if full.startswith("keras.src") and not file.startswith(BACKEND)
    ]
    found += [
        f"{place}: {owner}.{name}"
        for place, file, owner, name in attributes()
        if name in KERAS_INTERNALS and not file.startswith(BACKEND)
    ]
    assert not found


def test_private_names_are_used_by_their_own_file_and_its_test_alone():
    found = []
    for place, file, owner, name in attributes():
        accepted = name in ACCEPTED or (name in KERAS_INTERNALS and file.startswith(BACKEND))
        if is_private(name) and not accepted and owner not in ("self", "cls", "super()"):
            if name not in own_names(file) | own_names(module_of_test(file)):
                found.append(f"{place}: {owner}.{name}")
    assert not found


def test_no_module_imports_private_names():
    private = [
        f"{place}: {full}"
        for place, _, full, name in imports("kexue_keras", "recipes")
        if is_private(name) or any(map(is_private, full.split(".")))
    ]
    assert not private


def test_pure_parts_import_no_framework():
    program = [
        "import os, sys",
        "environment = dict(os.environ)",
        "import kexue_keras, kexue_keras.equations",
        "assert 'numpy' not in sys.modules, 'equations'",
        *(f"import kexue_keras.{name}" for name in PURE),
        "import kexue_keras.datasets, kexue_keras.xiangqi",
        "found = {'keras', 'tensorflow', 'jax', 'torch', 'pyffish'} & set(sys.modules)",
        "assert not found, found",
        "assert dict(os.environ) == environment",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(program)], check=True, cwd=ROOT)


def test_the_library_changes_no_environment_variable():
    """Of what it changes by running; `test_pure_parts_import_no_framework` sees the import.

    But the entry of the recipes: TensorFlow reads a variable when a recipe imports it.
    """
    changing = ("update", "setdefault", "pop", "clear", "popitem")
    found = []
    for place, _, node in nodes((ast.Subscript, ast.Attribute), "kexue_keras"):
        owner = node.value
        text = owner.id if isinstance(owner, ast.Name) else ""
        if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
            text = f"{owner.value.id}.{owner.attr}"
        stored = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        if text == "os.environ" and (stored or getattr(node, "attr", "") in changing):
            found.append(place)
        elif text == "os" and getattr(node, "attr", "") in ("putenv", "unsetenv"):
            found.append(place)
    assert [place.split(":")[0] for place in found] == ["kexue_keras/experiments/command.py"]


def test_nothing_in_the_library_imports_a_recipe():
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.py")} | {"recipes"}
    wrong = [place for place, _, full, _ in imports("kexue_keras") if full.split(".")[0] in recipes]
    assert not wrong


def test_what_recipes_use_of_the_library_exists():
    """A name that moved is seen here, and not only by the run that needs it."""
    absent = []
    for name, _, tree in source("recipes"):
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kexue_keras"):
                for alias in node.names:
                    found = getattr(importlib.import_module(node.module), alias.name, None)
                    if found is None:
                        found = importlib.import_module(f"{node.module}.{alias.name}")
                    if inspect.ismodule(found):
                        modules[alias.asname or alias.name] = found
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                if module and not hasattr(module, node.attr):
                    absent.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert not absent


def test_every_recipe_imports_the_library():
    importing = {name for _, name, full, _ in imports("recipes") if full.startswith("kexue_keras")}
    every = {name for name, _, _ in source("recipes") if not name.endswith("__init__.py")}
    assert every == importing


def test_layers_import_no_losses():
    wrong = [
        f"{place}: {full}"
        for place, _, full, _ in imports("kexue_keras/layers")
        if full.startswith("kexue_keras.losses")
    ]
    assert not wrong


def test_the_mask_of_new_files_is_left_alone():
    assert not [place for place, _, _, name in attributes() if name == "umask"]


def test_the_lowest_score_has_one_place():
    found = [
        place
        for place, name, node in nodes(ast.UnaryOp, "kexue_keras", "recipes")
        if isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
        and node.operand.value == 1e30
        and name != "kexue_keras/ops.py"
    ]
    assert not found


def test_tests_measure_no_time():
    """`time.monotonic` may end a wait."""
    clocks = ("perf_counter", "perf_counter_ns", "process_time", "time", "time_ns", "thread_time")
    found = [
        f"{place}: {owner}.{name}"
        for place, file, owner, name in attributes()
        if owner == "time" and name in clocks and file.startswith("tests/")
        if not file.startswith("tests/benchmarks/")
    ]
    found += [
        place
        for place, file, full, _ in imports("tests")
        if full.split(".")[0] == "timeit" and not file.startswith("tests/benchmarks/")
    ]
    assert not found


@pytest.mark.parametrize(
    "text, private",
    [("self._x", False), ("layer._x", True), ("row._replace", False), ("x.__name__", False)],
)
def test_the_check_of_private_names_sees_them(text, private, tmp_path, monkeypatch):
    """A rule that finds nothing must be able to find something."""
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "source", lambda *folders: [("a.py", text, ast.parse(text))])
    monkeypatch.setattr(module, "attributes", attributes.__wrapped__)
    if private:
        with pytest.raises(AssertionError):
            test_private_names_are_used_by_their_own_file_and_its_test_alone()
    else:
        test_private_names_are_used_by_their_own_file_and_its_test_alone()
