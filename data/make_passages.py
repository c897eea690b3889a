"""Makes the small passages of `recipes/question_answer_generation.py`: invented towns and people.

    python data/make_passages.py            # writes data/passages_{train,valid}.json

A passage tells three facts about something, in an order drawn at random, and has a question about
each. The names of held-out passages occur in no training passage of the same kind (a town may
share its name with a bridge).
"""

import argparse
import json
import os
import random
from pathlib import Path

FIRST = "青白云石松竹梅雪霜月星风雨金玉碧翠丹紫苍"
SECOND = "岚溪泉岩烟霞川原林谷峰湖涛沙岭亭桥影光声"
SURNAMES = "王李张刘陈杨赵黄周吴徐孙马朱胡"
PLACES = ["东原省", "西川省", "南湖省", "北岭省", "中谷省", "临海省"]
# kind: (how names end, [(sentence, question, answers or bounds of a number and its unit)])
KINDS = {
    "town": (
        "镇",
        [
            ("{s}位于{a}", "{s}位于哪里？", PLACES),
            ("{s}人口约{a}", "{s}有多少人口？", (2, 90, "万人")),
            ("当地以{a}闻名", "{s}以什么闻名？", ["陶瓷", "茶叶", "丝绸", "木雕", "米酒"]),
            ("{s}建于{a}", "{s}建于哪一年？", (1400, 1900, "年")),
        ],
    ),
    "writer": (
        "",
        [
            ("{s}生于{a}", "{s}生于哪一年？", (1880, 1990, "年")),
            ("{s}的家乡是{a}", "{s}是哪里人？", PLACES),
            ("{s}是一位{a}", "{s}的职业是什么？", ["诗人", "小说家", "剧作家", "散文家"]),
            ("一生写了{a}书", "{s}写了多少本书？", (3, 60, "本")),
        ],
    ),
    "bridge": (
        "大桥",
        [
            ("{s}全长{a}", "{s}有多长？", (200, 9000, "米")),
            ("{s}横跨{a}", "{s}横跨哪条河？", ["青江", "白河", "玉溪", "南水", "云江"]),
            ("它于{a}通车", "{s}哪年通车？", (1950, 2020, "年")),
            ("每天约有{a}车通过", "每天有多少车通过{s}？", (1000, 9000, "辆")),
        ],
    ),
}


def answer(rng, choices):
    if isinstance(choices, list):
        return rng.choice(choices)
    low, high, unit = choices
    return f"{rng.randrange(low, high)}{unit}"


def passage(rng, kind, name):
    """A passage as an object of SQuAD's format."""
    ending, facts = KINDS[kind]
    subject = name + ending
    chosen = rng.sample(facts, 3)
    # a sentence without the name needs one before it
    chosen.sort(key=lambda fact: "{s}" not in fact[0])
    sentences, questions = [], []
    for sentence, question, choices in chosen:
        text = answer(rng, choices)
        sentences.append(sentence.format(s=subject, a=text))
        questions.append((question.format(s=subject), text))
    context = rng.choice(("，", "。")).join(sentences[:2]) + "。" + sentences[2] + "。"
    rng.shuffle(questions)
    return {
        "context": context,
        "qas": [
            {
                "id": f"{subject}-{i}",
                "question": q,
                "answers": [{"text": a, "answer_start": context.index(a)}],
            }
            for i, (q, a) in enumerate(questions)
        ],
    }


def names(rng, kind):
    """All names of a kind in an order of their own."""
    firsts = SURNAMES if kind == "writer" else FIRST
    found = [a + b for a in firsts for b in SECOND]
    rng.shuffle(found)
    return found


def make(seed, sizes):
    """One list of passages for every size; no name comes twice in a kind."""
    rng = random.Random(seed)
    pools = {kind: names(rng, kind) for kind in KINDS}
    return [
        [passage(rng, kind, pools[kind].pop()) for kind in rng.choices(sorted(KINDS), k=size)]
        for size in sizes
    ]


def write(path, passages):
    document = {"version": "1", "data": [{"title": "passages", "paragraphs": passages}]}
    temporary = path.with_suffix(".tmp")
    text = json.dumps(document, ensure_ascii=False, indent=1)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    for name, passages in zip(("train", "valid"), make(options.seed, (600, 60)), strict=True):
        write(options.out / f"passages_{name}.json", passages)
