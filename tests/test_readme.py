"""What the READMEs say exists: names, arguments, files, links, sections, commands, options."""

import ast
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kexue_keras

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
FRONT = ("README.md", "README.zh.md")
READMES = (*FRONT, "recipes/README.md", "tests/benchmarks/README.md")
PAGES = (*READMES, "CONTRIBUTING.md", "data/README.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
MODULES = {module.name for module in pkgutil.iter_modules(kexue_keras.__path__)}
RECIPES = {p.stem for p in (ROOT / "recipes").glob("*.py")} - {"chinese_chess_web"}
BENCHMARKS = {p.stem for p in (ROOT / "tests" / "benchmarks").glob("*.py")} - {"pairing"}

# Parts of the layout that may be named before they exist; they are checked from the day they do.
PLANNED = ()
# The articles that this project is about.
ARTICLES = """7213 7259 7302 7343 7359 7388 7466 7469 7500 7521 7533 7630 7681 7725 7737 7764 7809
    7818 7877 7888 7919 7921 7991 8244 8796 8802 8823 8847 8860 8870 8896 8907 8968""".split()
NOT_YET = re.compile("not yet|尚无")

BLOCK = re.compile(r"(?ms)^```\w*\n.*?^```")

each_front = pytest.mark.parametrize("page", FRONT)
each_readme = pytest.mark.parametrize("page", READMES)
each_page = pytest.mark.parametrize("page", PAGES)


# ---- names


def find(name):
    """What a dotted name below `kexue_keras` stands for, or None."""
    thing = kexue_keras
    path = "kexue_keras"
    for part in name.split("."):
        path += f".{part}"
        if not hasattr(thing, part):
            try:
                importlib.import_module(path)
            except ModuleNotFoundError:
                return None
        thing = getattr(thing, part, None) or sys.modules.get(path)
    return thing


def planned(name):
    """Whether the name may be missing: it is part of something planned that is not there."""
    parts = [part for part in PLANNED if name == part or name.startswith(part + ".")]
    return bool(parts) and find(parts[0]) is None


def names_in(text):
    """Dotted names in the code of the text, and the arguments of those that are called."""
    known = "|".join(sorted(MODULES | {part.split(".")[0] for part in PLANNED}))
    for code in re.findall(r"`([^`\n]+)`", text):
        for found in re.finditer(rf"(?<![\w./-])(kexue_keras\.)?((?:{known})(?:\.\w+)+)", code):
            name = found.group(2)
            if name.endswith(".py") or code[found.end() : found.end() + 1] == "/":
                continue
            call = re.match(r"\(([^()]*)\)", code[found.end() :])
            yield name, re.findall(r"(\w+)=", call.group(1)) if call else []
        for name in re.findall(r"kexue_keras\.([\w.]*\w)", code):
            yield name, []
        for module, imported in re.findall(r"from kexue_keras\.([\w.]+) import ([\w, ]+)", code):
            for name in imported.split(", "):
                yield f"{module}.{name}", []


def accepts(thing, argument):
    """Whether it takes the argument; `**kwargs` of a class are Keras's and do not count."""
    parameters = inspect.signature(thing).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    more = inspect.Parameter.VAR_KEYWORD in kinds and not inspect.isclass(thing)
    return argument in parameters or more


@each_page
def test_names_and_their_arguments_exist(page):
    text = BLOCK.sub("", TEXTS[page])
    checked = 0
    for line in text.splitlines():
        for cell in line.split(" | "):
            for there, part in sections_of_a_cell(cell):
                for name, arguments in names_in(part):
                    thing = find(name)
                    if not there:
                        assert thing is None, f"{name} is there now"
                    elif not planned(name):
                        assert thing is not None, name
                        for argument in arguments:
                            assert accepts(thing, argument), (name, argument)
                        checked += 1
    assert checked > 40 or page not in FRONT


def sections_of_a_cell(cell):
    """`(whether it is said to exist, text)` of a cell: after "not yet" nothing does."""
    before, *after = NOT_YET.split(cell, maxsplit=1)
    yield True, before
    for part in after:
        yield False, part


def test_names_and_arguments_are_read_from_code():
    assert list(names_in("`layers.AttentionMask`, `metrics.f1(a=1)`, layers.No, `ops.py`")) == [
        ("layers.AttentionMask", []),
        ("metrics.f1", ["a"]),
    ]
    assert find("layers.AttentionMask") and find("experiments.run.Run")
    assert find("layers.Nothing") is None and find("nothing.at.all") is None
    assert planned("ops.LOWEST") == (find("ops.LOWEST") is None)
    assert not planned("ops.mitchell_multiply") and not planned("layers.Nothing")


# ---- files, links, sections


def rows_of_articles(page):
    """`(article numbers, names, files)` of the table of articles."""
    for line in TEXTS[page].splitlines():
        if line.startswith("| [") and "kexue.fm/archives/" in line:
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            yield re.findall(r"\[(\d+)\]", cells[0]), cells[-2], cells[-1]


@each_front
def test_every_article_has_a_row_and_its_files_exist(page):
    numbers = [number for found, _, _ in rows_of_articles(page) for number in found]
    assert len(numbers) == len(set(numbers))
    assert set(ARTICLES) <= set(numbers)
    for found, names, files in rows_of_articles(page):
        assert bool(NOT_YET.search(names)) == bool(NOT_YET.search(files)), found
        for there, part in sections_of_a_cell(files):
            paths = re.findall(r"`([^`]+)`", part)
            assert paths or not part, (found, files)
            for path in paths:
                full = ROOT / path if path.startswith("recipes/") else ROOT / "kexue_keras" / path
                if not there:
                    assert not full.exists(), f"{path} is there now"
                elif not planned(path.removesuffix(".py").replace("/", ".")):
                    assert full.exists(), path


def test_the_files_of_an_article_refer_to_it():
    for found, _, files in rows_of_articles("README.md"):
        there, *_ = sections_of_a_cell(files)
        paths = [
            ROOT / ("" if path.startswith("recipes/") else "kexue_keras") / path
            for path in re.findall(r"`([^`]+)`", there[1])
        ]
        paths = [path for path in paths if path.exists()]
        sources = [p for path in paths for p in ([path] if path.is_file() else path.rglob("*.py"))]
        text = "".join(source.read_text(encoding="utf-8") for source in sources)
        assert not paths or any(f"archives/{number}" in text for number in found), found


def test_both_tables_of_articles_name_the_same():
    english, chinese = (
        [(found, *(re.findall(r"`([^`]+)`", cell) for cell in cells)) for found, *cells in rows]
        for rows in map(rows_of_articles, FRONT)
    )
    assert english == chinese


@each_page
def test_files_exist(page):
    text = TEXTS[page]
    for path in re.findall(r"(?:kexue_keras|tests|recipes|data)/[\w./*{},-]*", text):
        path = path.rstrip(".,")
        name = path.removeprefix("kexue_keras/").removesuffix(".py").strip("/").replace("/", ".")
        if path.startswith("kexue_keras/") and planned(name):
            continue
        if re.search(r"NAME|FILE|foo", path):
            continue
        options = re.search(r"\{(.*)\}", path)
        for option in options.group(1).split(",") if options else [""]:
            one = re.sub(r"\{.*\}", option, path)
            assert list(ROOT.glob(one)), f"{page}: {one}"


def slugs(path):
    """The anchors of a page's headings, as GitHub makes them."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    found = [
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"(?m)^#+ (.*)$", text)
    ]
    assert len(found) == len(set(found)), path
    return set(found)


@each_page
def test_links_lead_somewhere(page):
    here = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[page])
    assert links or page not in READMES
    for link in links:
        path, _, anchor = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), link
        if anchor:
            assert anchor in slugs(target), link


def test_the_front_pages_are_short_and_alike():
    headings = []
    for page in FRONT:
        lines = TEXTS[page].splitlines()
        assert len(lines) <= 250, page
        text = BLOCK.sub("", TEXTS[page])
        headings.append([len(marks) for marks in re.findall(r"(?m)^(#+) ", text)])
        for linked in READMES:
            assert linked == page or f"]({linked})" in text, (page, linked)
    assert headings[0] == headings[1]


@pytest.mark.parametrize(
    ("page", "scripts"),
    [("recipes/README.md", RECIPES), ("tests/benchmarks/README.md", BENCHMARKS)],
)
def test_every_script_has_a_section(page, scripts):
    assert scripts <= set(re.findall(r"(?m)^## (\w+)$", TEXTS[page]))


# ---- commands and options

# Prints the options of every recipe as JSON, from the fields of its `Config`, inherited ones too.
LIST_OPTIONS = """
import dataclasses, importlib, json, sys
sys.path.insert(0, "recipes")
found = {}
for name in sys.argv[1:]:
    config = importlib.import_module(name).Config
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(config)}
    booleans = {
        field.name.replace("_", "-") for field in dataclasses.fields(config)
        if isinstance(field.default, bool)
    }
    found[name] = sorted(fields | {f"no-{name}" for name in booleans} | {"help"})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def options():
    """The options of every recipe and every benchmark, without the dashes before them."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_OPTIONS, *sorted(RECIPES)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name in BENCHMARKS:
        source = (ROOT / "tests" / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        found[f"benchmarks/{name}"] = ["help"] + [
            call.args[0].value.removeprefix("--")
            for call in calls
            if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
        ]
    return found


def options_in(page):
    """`(script or None, option)`: of the command in the line, else of the section, else of any."""
    section = None
    for line in TEXTS[page].splitlines():
        if heading := re.match(r"## (\w+)$", line):
            name = heading.group(1)
            section = {"recipes": name, "tests": f"benchmarks/{name}"}.get(page.split("/")[0])
        elif line.startswith("#"):
            section = None
        script = section
        if found := re.search(r"(?:recipes/|tests/(benchmarks)/)(\w+)\.py", line):
            script = f"benchmarks/{found.group(2)}" if found.group(1) else found.group(2)
        elif "make run" in line:
            script = "ape210k"
        for code in re.findall(r"`([^`\n]+)`", line) + re.findall(r"^[^`]*`|`[^`]*$", line):
            for option in re.findall(r"(?<![\w-])--([a-z][a-z-]*)", code):
                yield script, option


@each_readme
def test_options_exist(page, options):
    checked = 0
    for script, option in options_in(page):
        assert script is None or script in options, script
        known = options[script] if script else {name for of in options.values() for name in of}
        assert option in known, (script, option)
        checked += 1
    assert checked > 3


@each_page
def test_commands_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = TEXTS[page]
    for code in BLOCK.findall(text) + re.findall(r"`[^`]+`", BLOCK.sub("", text)):
        for script in re.findall(r"python ([\w/]+\.py)", code):
            if not script.endswith("NAME.py"):
                assert (ROOT / script).exists(), script
        for target in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", code):
            assert re.search(rf"(?m)^{target}:", makefile), target


def test_extras_exist():
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    for page in FRONT:
        for extras in re.findall(r"-e \"?\.\[([\w,]+)\]", TEXTS[page]):
            for extra in extras.split(","):
                assert f'"{extra}":' in source, extra


# ---- the first example


@pytest.mark.slow
@each_front
def test_the_first_example_runs(page):
    (program,) = re.findall(r"```python\n(.*?)```", TEXTS[page], re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    best = [line for line in done.stdout.splitlines() if re.match(r"-\d+\.\d+ ", line)][0]
    assert best.split(" ", 1)[1] == "东京"


@each_page
def test_pictures_are_there_and_small(page):
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXTS[page]):
        picture = (ROOT / page).parent / path
        assert picture.exists(), path
        assert picture.stat().st_size < 60_000, path
    assert page not in FRONT or TEXTS[page].count("recipes/pictures/") >= 3
