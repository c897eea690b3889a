"""The readers: small files written here, every kind of damage, and the real data sets."""

import functools
import gzip
import json
import lzma

import pytest

from kexue_keras import datasets
from kexue_keras.datasets import DataError, LeftOutWarning, Triple, split_subject

PROBLEM = {"id": "7", "original_text": "3个2(1/2)是多少？", "equation": "x=3*2(1/2)", "ans": "7.5"}
QUESTION = {"id": 0, "question": "谁写的？", "answer": "红楼梦（小说） ||| 作者 ||| 曹雪芹"}


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.txt"):
        path = tmp_path / name
        content = content if isinstance(content, bytes) else content.encode()
        if name.endswith(".xz"):
            content = lzma.compress(content)
        if name.endswith(".gz"):
            content = gzip.compress(content)
        path.write_bytes(content)
        return path

    return write


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def load_questions(path):
    return datasets.load_kgclue(path, path)


LOADERS = [
    (datasets.load_ape210k, lines(PROBLEM)),
    (datasets.load_sentiment, "很好\t1\n"),
    (datasets.load_fewclue, lines({"sentence": "好", "label": 1})),
    (datasets.load_pairs, "好\t很好\t4\n"),
    (datasets.load_labelled, "好\tO\n"),
    (datasets.load_xiangqi, "1-0\th2e2 h9g7\n"),
    (load_questions, lines(QUESTION)),
    (datasets.load_qa, json.dumps([{"question": "q", "passages": []}])),
]
each_loader = pytest.mark.parametrize(
    ("load", "good"), LOADERS, ids=[load.__name__ for load, _ in LOADERS]
)


@each_loader
def test_empty_file(write, load, good):
    for content in ("", "\n\r\n"):
        with pytest.raises(DataError, match=r"data\.txt:1: must not be empty"):
            load(write(content))


@each_loader
def test_bytes_that_are_not_utf8(write, load, good):
    with pytest.raises(DataError, match=r"data\.txt:2: must be UTF-8"):
        load(write(good.rstrip("\n").encode() + b"\n\xff\xfe\n"))


@each_loader
@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_compressed_file_cut_off(write, load, good, suffix):
    path = write(good * 50, "data" + suffix)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=rf"data\{suffix}:\d+: the compressed file is damaged"):
        load(path)


@each_loader
@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_not_compressed_though_it_says_so(write, load, good, suffix):
    path = write(good)
    path = path.rename(path.with_name("data" + suffix))
    with pytest.raises(DataError, match=rf"data\{suffix}:1: the compressed file is damaged"):
        load(path)


@each_loader
def test_absent_file(tmp_path, load, good):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("load", "content", "message"),
    [
        (datasets.load_ape210k, lines(PROBLEM) + '{"id": \n', ":2: must be JSON"),
        (datasets.load_ape210k, "[" * 100_000, ":1: must be JSON"),
        (datasets.load_ape210k, lines(PROBLEM, [1]), ":2: must be a JSON object.*list"),
        (datasets.load_ape210k, lines({"ans": "1"}), ":1: must have the field 'original_text'"),
        (datasets.load_ape210k, lines(PROBLEM | {"ans": 7.5}), ":1: 'ans' must be a str.*float"),
        (datasets.load_sentiment, "好\t1\n好 1\n", r":2: must have 2 columns.*Received: 1"),
        (datasets.load_sentiment, "好\t1\t1\n", r":1: must have 2 columns.*Received: 3"),
        (datasets.load_sentiment, "好\tgood\n", ":1: the label must be an integer.*'good'"),
        (datasets.load_fewclue, lines({"label": 1}), ":1: must have the field 'sentence'"),
        (datasets.load_fewclue, lines({"sentence": "a", "label": []}), ":1: the label must be a"),
        (datasets.load_pairs, "a\tb\t1\n\na\tb\n", r":3: must have 3 columns"),
        (datasets.load_pairs, "a\tb\tmuch\n", ":1: the score must be a number.*'much'"),
        (datasets.load_pairs, "a\tb\tnan\n", ":1: the score must be a number.*'nan'"),
        (datasets.load_labelled, "好 O\n很\n", ":2: must have 2 columns"),
        (datasets.load_labelled, "好 O O\n", ":1: must have 2 columns"),
        (datasets.load_labelled, "好 X-LOC\n", ":1: a label must be O or.*'X-LOC'"),
        (datasets.load_xiangqi, "1-0\th2e2\n2-0\th2e2\n", ":2: the result must be.*'2-0'"),
        (datasets.load_xiangqi, "1-0\th2e2 j2e2\n", ":1: moves must be like h2e2"),
        (datasets.load_xiangqi, "1-0\n", ":1: must have 2 columns"),
        (
            functools.partial(datasets.load_xiangqi, check=True),
            "1-0\th2e2\n1-0\th2e2 h9h8\n",
            ":2: .*h9h8",
        ),
        (load_questions, lines(QUESTION, {"question": "?"}), ":2: must have the field 'answer'"),
        (load_questions, lines(QUESTION | {"answer": "a ||| b"}), ":1: 'answer' must be"),
        (datasets.load_qa, '[\n{"question"\n', ":2: must be JSON"),
        (datasets.load_qa, "3", r":1: in the document: must be a list. Received: int"),
        (datasets.load_qa, '{"data": 3}', ":1: in the document: 'data' must be a list"),
        (datasets.load_qa, "[3]", r"document\[0\]: must be a JSON object. Received: int"),
        (datasets.load_qa, '{"Q1": 3}', r"document\['Q1'\]: must be a JSON object"),
        (datasets.load_qa, "[]", ":1: must have at least one question"),
        (datasets.load_qa, '[{"qas": []}]', r"document\[0\]: must have the field 'context_text'"),
        (datasets.load_qa, '[{"paragraphs": [3]}]', r"\[0\].paragraphs\[0\]: must be a JSON obj"),
        (
            datasets.load_qa,
            '[{"context": "p", "qas": [{"question": "q", "answers": [true]}]}]',
            r"\[0\].qas\[0\]: answers must be strings or numbers. Received: True",
        ),
        (
            datasets.load_qa,
            '[{"question": "q", "passages": [{"passage": "p"}]}]',
            r"\[0\], passage 0: must have the field 'answer'",
        ),
    ],
)
def test_damaged_lines(write, load, content, message):
    place = r"data\.txt" if message.startswith(":") else r"data\.txt:1: .*"
    with pytest.raises(DataError, match=place + message):
        load(write(content))


def test_math_problems(write):
    wrong = PROBLEM | {"ans": "8"}
    unnamed = {name: text for name, text in PROBLEM.items() if name != "id"}
    with pytest.warns(LeftOutWarning, match=r"1 of 3 left out: .* do not agree \(line 2\)"):
        samples = datasets.load_ape210k(write(lines(PROBLEM, wrong, unnamed), "data.jsonl.xz"))
    kept = {"question": "3个(2+1/2)是多少？", "equation": "3*(2+1/2)", "answer": "7.5"}
    assert samples == [{"id": "7", **kept}, {"id": "3", **kept}]


def test_mark_carriage_returns_and_line_separators(write):
    content = "\ufeff很\u2028好\x85\t1\r\n\r\n 不 \t-1"
    expected = [("很\u2028好\x85", 1), (" 不 ", -1)]
    for name in ("data.tsv", "data.tsv.xz", "data.tsv.gz"):
        assert datasets.load_sentiment(write(content, name)) == expected


def test_pairs(write):
    assert datasets.load_pairs(write("甲\t乙\t3\n丙\t\t0.5\n")) == [
        ("甲", "乙", 3.0),
        ("丙", "", 0.5),
    ]


def test_fewclue(write):
    rows = [{"sentence": "a", "label": 110}, {"sentence": "b", "label": "x"}, {"sentence": "c"}]
    samples = datasets.load_fewclue(write(lines(*rows)))
    assert samples == [("a", "110"), ("b", "x"), ("c", None)]


def test_labelled(write):
    expected = [(["北", "京"], ["B-LOC", "E-LOC"]), (["\u3000"], ["O"])]
    for separator in " \t":
        content = "\n北 B-LOC\n京 E-LOC\n\n\n\u3000 O\n".replace(" ", separator)
        assert datasets.load_labelled(write(content)) == expected


def test_games(write):
    games = datasets.load_xiangqi(write("1-0\th2e2 h9g7\n*\ta0a1\n"))
    assert games == [("1-0", ["h2e2", "h9g7"]), ("*", ["a0a1"])]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("红楼梦（小说）", ("红楼梦", "小说")),
        ("红楼梦", ("红楼梦", "")),
        ("语言学（语言学（语言理论））", ("语言学", "语言学（语言理论）")),
        ("魔幻城堡（（韩）金善贤）", ("魔幻城堡", "（韩）金善贤")),
        ("甲（乙）（丙）", ("甲（乙）", "丙")),
        ("完美（中国）有限公司", ("完美（中国）有限公司", "")),
        ("（完美）", ("（完美）", "")),
        ("完美）", ("完美）", "")),
        ("", ("", "")),
    ],
)
def test_split_subject(text, parts):
    assert split_subject(text) == parts


def test_knowledge(write):
    questions = write(lines(QUESTION), "questions.jsonl")
    knowledge = write("红楼梦（小说）\t作者\t曹雪芹\n红楼梦\t导演\t王扶林\n", "kb.tsv")
    samples, triples = datasets.load_kgclue(questions, knowledge)
    fields = {"subject": "红楼梦", "meaning": "小说", "predicate": "作者", "object": "曹雪芹"}
    assert samples == [{"question": "谁写的？", **fields}]
    assert list(triples) == list(triples) == [Triple(**fields), ("红楼梦", "", "导演", "王扶林")]
    with pytest.raises(DataError, match=r"bad\.tsv:2: must have 3 columns"):
        list(datasets.load_kgclue(questions, write("a\tb\tc\na\tb\n", "bad.tsv"))[1])
    with pytest.raises(FileNotFoundError, match="`knowledge` must be a file"):
        datasets.load_kgclue(questions, knowledge.with_name("absent.tsv"))


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"paragraphs": [{"context": "p", "qas": "QAS"}]}]},
        [{"context_text": "p", "qas": "QAS"}],
    ],
)
def test_questions_with_one_passage(write, document):
    squad = isinstance(document, dict)
    answers = ["a", "b", "a", 3.0]
    answers = [{"text": answer} for answer in answers] if squad else answers
    names = ("id", "question") if squad else ("query_id", "query_text")
    row = {names[0]: "n", names[1]: "q", "answers": answers}
    text = json.dumps(document).replace('"QAS"', json.dumps([row]))
    expected = [{"id": "n", "passage": "p", "question": "q", "answers": ["a", "b", "3"]}]
    assert datasets.load_qa(write(text)) == expected


@pytest.mark.parametrize(
    "document",
    [
        [
            {
                "id": "n",
                "question": "q",
                "passages": [{"passage": "p", "answer": "3.0"}, {"passage": "r", "answer": ""}],
            }
        ],
        {
            "n": {
                "question": "q",
                "evidences": {
                    "x": {"evidence": "p", "answer": ["3.0"]},
                    "y": {"evidence": "r", "answer": ["no_answer"]},
                },
            }
        },
    ],
)
def test_questions_with_many_passages(write, document):
    assert datasets.load_qa(write(json.dumps(document, indent=1))) == [
        {"id": "n-0", "passage": "p", "question": "q", "answers": ["3.0"]},
        {"id": "n-1", "passage": "r", "question": "q", "answers": []},
    ]


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Batch'"):
        _ = datasets.Batch


@pytest.mark.parametrize(
    ("name", "load", "count"),
    [
        ("math/ape210k_valid.jsonl.xz", datasets.load_ape210k, 4999),
        ("math/math23k_valid.jsonl.xz", datasets.load_ape210k, 2316),
        ("sentiment/valid.tsv.xz", datasets.load_sentiment, 2111),
        ("fewclue/tnews_train_0.jsonl.xz", datasets.load_fewclue, 240),
        ("fewclue/eprstmt_unlabeled.jsonl.xz", datasets.load_fewclue, 19565),
        ("matching/stsb_zh_valid.tsv.xz", datasets.load_pairs, 1458),
        ("matching/lcqmc_dev.tsv.xz", datasets.load_pairs, 8802),
        ("labelling/resume_ner_train.bmes.xz", datasets.load_labelled, 3821),
        ("reading/cmrc2018_dev.json.xz", datasets.load_qa, 3219),
        ("reading/drcd_dev.json.xz", datasets.load_qa, 3524),
        ("xiangqi/games_valid.tsv.xz", datasets.load_xiangqi, 790),
    ],
)
def test_real_data(shared, name, load, count):
    assert len(load(shared / "data" / name)) == count


def test_real_knowledge(shared):
    folder = shared / "data/kgclue"
    for questions, knowledge, counts in (
        ("dev.jsonl.xz", "kb_kgclue.tsv.xz", (2000, 431, 2000)),
        ("nlpcc_train.jsonl.xz", "kb_nlpcc.tsv.xz", (14609, 84, 14607)),
    ):
        samples, triples = datasets.load_kgclue(folder / questions, folder / knowledge)
        known = {triple[:3] for triple in triples}
        answered = sum((s["subject"], s["meaning"], s["predicate"]) in known for s in samples)
        assert (len(samples), sum(bool(s["meaning"]) for s in samples), answered) == counts
