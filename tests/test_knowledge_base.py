"""The script of the sample knowledge base makes what lies in data/."""

import subprocess
import sys
from pathlib import Path

from kexue_keras import datasets

DATA = Path(__file__).resolve().parent.parent / "data"
NAMES = ("knowledge.tsv", "knowledge_train.jsonl", "knowledge_valid.jsonl")


def test_the_script_writes_the_same_bytes(tmp_path):
    script = DATA / "make_knowledge_base.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


def test_every_answer_is_a_triple_and_held_out_subjects_are_new():
    parts = [datasets.load_kgclue(DATA / name, DATA / NAMES[0]) for name in NAMES[1:]]
    triples = set(parts[0][1])
    for questions, _ in parts:
        for q in questions:
            key = (q["subject"], q["meaning"], q["predicate"], q["object"])
            assert key in triples
    train, valid = ({q["subject"] for q in questions} for questions, _ in parts)
    assert not train & valid and len(valid) > 30
