"""Readers of the data sets that the recipes use.

Every reader takes a path (`.xz` and `.gz` are decompressed on the way), reads UTF-8 lines that end
at a line feed only, skips empty lines, and refuses anything it does not understand with a
`DataError` that names file and line. Nothing here imports a deep-learning framework.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kexue_keras import equations
from kexue_keras.datasets.lines import (
    DataError,
    PathLike,
    as_object,
    field,
    parse_json,
    read_columns,
    read_lines,
    read_objects,
    warn_left_out,
)
from kexue_keras.xiangqi.board import Board, IllegalMove
from kexue_keras.xiangqi.moves import is_move

_LABEL = re.compile(r"O|[BIMES]-\S+")
_RESULTS = ("1-0", "0-1", "1/2-1/2", "*")
_NO_ANSWER = ("", "no_answer")


class Triple(NamedTuple):
    """One fact of a knowledge base; `meaning` tells subjects of the same name apart."""

    subject: str
    meaning: str
    predicate: str
    object: str


def load_ape210k(path: PathLike) -> list[dict[str, str]]:
    """Math word problems of Ape210K or Math23K whose equation and answer agree.

    Args:
        path: JSON lines with `original_text`, `equation`, `ans`, and perhaps `id`.

    Returns:
        Dictionaries `id`, `question`, `equation`, `answer`, all strings, in the form that
        `kexue_keras.equations.normalize` gives; inconsistent problems are left out, and a
        `LeftOutWarning` says how many. Without an `id` the line number is one.

    Reference: https://kexue.fm/archives/7809
    """
    samples, left_out = [], []
    for number, row, texts in read_objects(path, ("original_text", "equation", "ans")):
        normalized = equations.normalize(*texts)
        if normalized is None:
            left_out.append(number)
            continue
        fields = zip(("question", "equation", "answer"), normalized, strict=True)
        samples.append({"id": str(row.get("id", number)), **dict(fields)})
    total = len(samples) + len(left_out)
    warn_left_out(path, left_out, total, "equation and answer do not agree")
    return samples


def load_sentiment(path: PathLike) -> list[tuple[str, int]]:
    """`(text, label)` of each line `text TAB label`; the label is an integer."""
    samples = []
    for number, (text, label) in read_columns(path, ("text", "label")):
        if not re.fullmatch("-?[0-9]{1,18}", label):
            raise DataError(f"{path}:{number}: the label must be an integer. Received: {label!r}")
        samples.append((text, int(label)))
    return samples


def load_fewclue(path: PathLike) -> list[tuple[str, str | None]]:
    """`(text, label)` of each JSON line of FewCLUE's classification tasks.

    Args:
        path: JSON lines with `sentence` and, but for unlabelled texts, `label`.

    Returns:
        Pairs of strings; the label is None where there is none.

    Reference: https://arxiv.org/abs/2107.07498
    """
    samples = []
    for number, row, (text,) in read_objects(path, ("sentence",)):
        label = row.get("label")
        if isinstance(label, bool) or not isinstance(label, str | int | None):
            raise DataError(
                f"{path}:{number}: the label must be a string or an integer. Received: {label!r}"
            )
        samples.append((text, None if label is None else str(label)))
    return samples


def load_pairs(path: PathLike) -> list[tuple[str, str, float]]:
    """`(first, second, score)` of each line `first TAB second TAB score`."""
    samples = []
    for number, (first, second, column) in read_columns(path, ("first", "second", "score")):
        try:
            score = float(column)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise DataError(f"{path}:{number}: the score must be a number. Received: {column!r}")
        samples.append((first, second, score))
    return samples


def load_labelled(path: PathLike) -> list[tuple[list[str], list[str]]]:
    """Sentences as `(characters, labels)`, two lists of one length.

    Args:
        path: one character per line, a tab or space, and its label: `O`, or one of `B-`, `I-`,
            `M-`, `E-`, `S-` and a type. An empty line ends a sentence.
    """
    sentences: list[tuple[list[str], list[str]]] = []
    inside, known = False, set()
    for number, line in read_lines(path, keep_empty=True):
        if not line:
            inside = False
            continue
        columns = line.split("\t" if "\t" in line else " ")
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"{path}:{number}: must have 2 columns (character, label). Received: {line!r}"
            )
        if columns[1] not in known and not _LABEL.fullmatch(columns[1]):
            raise DataError(
                f"{path}:{number}: a label must be O or B-, I-, M-, E-, S- and a type. "
                f"Received: {columns[1]!r}"
            )
        known.add(columns[1])
        if not inside:
            sentences.append(([], []))
            inside = True
        sentences[-1][0].append(columns[0])
        sentences[-1][1].append(columns[1])
    return sentences


def load_xiangqi(path: PathLike, check: bool = False) -> list[tuple[str, list[str]]]:
    """Games as `(result, moves)` of each line `result TAB moves`.

    The result is `1-0` (red won), `0-1`, `1/2-1/2` or `*` (unknown); the moves are in ICCS, such
    as `h2e2`.

    Args:
        path: the file.
        check: replay every game by the rules; a move that they forbid is an error.
    """
    games = []
    for number, (result, moves) in read_columns(path, ("result", "moves")):
        if result not in _RESULTS:
            raise DataError(
                f"{path}:{number}: the result must be one of {', '.join(_RESULTS)}. "
                f"Received: {result!r}"
            )
        if not all(map(is_move, moves.split(" "))):
            raise DataError(
                f"{path}:{number}: moves must be like h2e2, with one space between two. "
                f"Received: {moves[:40]!r}"
            )
        games.append((result, moves.split(" ")))
        if check:
            _check_game(games[-1][1], f"{path}:{number}")
    return games


def _check_game(moves, where):
    try:
        Board().extend(moves)
    except IllegalMove as error:
        raise DataError(f"{where}: {error}") from error


def split_subject(text: str) -> tuple[str, str]:
    """Splits `S（M）` into the subject S and its meaning M, which is empty if there is none.

    Example:

    >>> split_subject("郑多彬（韩国女演员（2000年出生））"), split_subject("欧莱雅（中国）有限公司")
    (('郑多彬', '韩国女演员（2000年出生）'), ('欧莱雅（中国）有限公司', ''))
    """
    if text.endswith("）"):
        depth = 0
        for i in range(len(text) - 1, 0, -1):
            depth += (text[i] == "）") - (text[i] == "（")
            if depth == 0:
                return text[:i], text[i + 1 : -1]
    return text, ""


class Triples:
    """The triples of a knowledge base, read from the file anew in each iteration.

    Args:
        path: lines `subject TAB predicate TAB object`; the subject may be `S（M）`.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path)

    def __iter__(self) -> Iterator[Triple]:
        for _, (subject, predicate, target) in read_columns(
            self.path, ("subject", "predicate", "object")
        ):
            yield Triple(*split_subject(subject), predicate, target)


def load_kgclue(questions: PathLike, knowledge: PathLike) -> tuple[list[dict[str, str]], Triples]:
    """Questions over a knowledge base (KgCLUE, NLPCC 2016) and the knowledge base.

    Args:
        questions: JSON lines with `question` and `answer`: `S（M） ||| P ||| O`.
        knowledge: see `Triples`. It is read only when iterated over, so it may be larger than
            the memory.

    Returns:
        The questions as dictionaries `question`, `subject`, `meaning`, `predicate`, `object`, and
        the `Triples`.

    Reference: https://kexue.fm/archives/8802
    """
    if not Path(knowledge).is_file():
        raise FileNotFoundError(f"`knowledge` must be a file. Received: {knowledge}")
    samples = []
    for number, _, (question, answer) in read_objects(questions, ("question", "answer")):
        parts = [part.strip() for part in answer.split("|||")]
        if len(parts) != 3:
            raise DataError(
                f"{questions}:{number}: 'answer' must be `S ||| P ||| O`. Received: {answer!r}"
            )
        triple = Triple(*split_subject(parts[0]), *parts[1:])
        samples.append({"question": question, **triple._asdict()})
    return samples, Triples(knowledge)


def load_qa(path: PathLike) -> list[dict[str, Any]]:
    """Questions about passages.

    Args:
        path: one JSON document: SQuAD's (DRCD, CMRC 2018), CMRC 2018's list of contexts, or
            WebQA's, with `passages` or `evidences` under each question.

    Returns:
        Dictionaries `id`, `passage`, `question` (strings) and `answers`: the list of different
        answers, empty if the passage has none. WebQA gives one for every passage of a question.

    Reference: https://kexue.fm/archives/7630
    """
    document = parse_json("\n".join(line for _, line in read_lines(path, keep_empty=True)), path, 1)
    where = f"{path}:1: in the document"
    if isinstance(document, dict):
        if "data" in document:
            document = field(document, "data", list, where)
        else:
            document = [
                {"id": name, **as_object(row, f"{where}[{name!r}]")}
                for name, row in document.items()
            ]
    elif not isinstance(document, list):
        raise DataError(f"{where}: must be a list. Received: {type(document).__name__}")
    samples = []
    for i, item in enumerate(document):
        samples.extend(_questions(as_object(item, f"{where}[{i}]"), f"{where}[{i}]", str(i)))
    if not samples:
        raise DataError(f"{path}:1: must have at least one question.")
    return samples


def _questions(item: dict, where: str, name: str) -> Iterator[dict[str, Any]]:
    if "paragraphs" in item:
        for j, paragraph in enumerate(field(item, "paragraphs", list, where)):
            place = f"{where}.paragraphs[{j}]"
            yield from _questions(as_object(paragraph, place), place, f"{name}-{j}")
    elif "qas" in item:
        squad = "context" in item
        passage = field(item, "context" if squad else "context_text", str, where)
        for j, row in enumerate(field(item, "qas", list, where)):
            place = f"{where}.qas[{j}]"
            question = field(row, "question" if squad else "query_text", str, place)
            answers = field(row, "answers", list, place)
            key = str(row.get("id", row.get("query_id", f"{name}-{j}")))
            yield _question(key, passage, question, answers, place)
    else:
        question = field(item, "question", str, where)
        key = str(item.get("id", name))
        if "evidences" in item:
            rows, text = list(field(item, "evidences", dict, where).values()), "evidence"
        else:
            rows, text = field(item, "passages", list, where), "passage"
        for j, row in enumerate(rows):
            place = f"{where}, {text} {j}"
            passage = field(row, text, str, place)
            answers = field(row, "answer", object, place)
            answers = answers if isinstance(answers, list) else [answers]
            yield _question(f"{key}-{j}", passage, question, answers, place)


def _question(key: str, passage: str, question: str, answers: list, where: str) -> dict[str, Any]:
    texts = [a.get("text") if isinstance(a, dict) else a for a in answers]
    for i, text in enumerate(texts):
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise DataError(f"{where}: answers must be strings or numbers. Received: {text!r}")
        texts[i] = text if isinstance(text, str) else str(text).removesuffix(".0")
    texts = [text for text in dict.fromkeys(texts) if text not in _NO_ANSWER]
    return {"id": key, "passage": passage, "question": question, "answers": texts}
