"""Every public name of bert4keras is here, or its error says what to use."""

import importlib
import json
from pathlib import Path

import pytest

from kexue_keras.compat import elsewhere

pytestmark = pytest.mark.once

NAMES = json.loads(Path(__file__).with_name("names.json").read_text(encoding="utf-8"))
PAGE = Path(elsewhere.__file__).with_name("README.md")
PAIRS = [(module, name) for module, names in NAMES.items() for name in names]


def test_each_name_is_here_or_refused():
    for module, name in PAIRS:
        ours = importlib.import_module(f"kexue_keras.compat.{module}")
        if name in elsewhere.ELSEWHERE[module]:
            with pytest.raises(ImportError, match=rf"`{name}` of bert4keras is not in .*Use: \S"):
                getattr(ours, name)
        else:
            assert hasattr(ours, name), (module, name)


def test_a_name_of_nobody():
    for module in NAMES:
        with pytest.raises(AttributeError, match=f"compat.{module}' has no attribute 'nobody'"):
            importlib.import_module(f"kexue_keras.compat.{module}").nobody  # noqa: B018


def test_the_page_is_the_table():
    text = PAGE.read_text(encoding="utf-8")
    assert elsewhere.table(NAMES) in text


@pytest.mark.parity
def test_the_names_are_those_of_bert4keras():
    """Read from its files, without importing it."""
    import ast
    from importlib.metadata import files

    found = {}
    for path in files("bert4keras"):
        if path.suffix != ".py" or path.stem == "__init__":
            continue
        names, bodies = set(), [ast.parse(path.read_text(encoding="utf-8")).body]
        while bodies:
            for node in bodies.pop():
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    names.add(node.name)
                elif isinstance(node, ast.Assign):
                    names |= {x.id for x in node.targets if isinstance(x, ast.Name)}
                elif isinstance(node, ast.If):
                    bodies += [node.body, node.orelse]
        found[path.stem] = sorted(name for name in names if not name.startswith("_"))
    assert found == NAMES
