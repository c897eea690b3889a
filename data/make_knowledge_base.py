"""Makes the small knowledge base of `recipes/kgclue.py`: invented places, plants and dishes.

    python data/make_knowledge_base.py            # writes data/knowledge*.{tsv,jsonl}

Every name is put together at random from a few characters. Some names are shared by two kinds of
things; these have a meaning, as `S（M）`. Held-out questions are about subjects that no training
question mentions.
"""

import argparse
import json
import os
import random
from pathlib import Path

FIRST = "青白云石松竹梅雪霜月星风雨金玉碧翠丹紫苍"
SECOND = "岚溪泉岩烟霞川原林谷峰湖涛沙岭亭桥影光声"
PLACES = ["东原", "西川", "南湖", "北岭", "中谷", "临海"]
KINDS = {
    "一座山": {
        "海拔": (["海拔是多少？", "有多高？", "的高度是多少？"], "{n}米", (300, 4000)),
        "所在地": (["在哪里？", "的所在地是哪里？", "位于什么地方？"], PLACES, None),
        "主要岩石": (
            ["主要由什么岩石构成？", "的主要岩石是什么？"],
            ["花岗岩", "石灰岩", "砂岩"],
            None,
        ),
    },
    "一条河": {
        "全长": (["有多长？", "的全长是多少？", "的长度是多少？"], "{n}公里", (20, 900)),
        "流经地区": (["流经哪里？", "流过什么地方？"], PLACES, None),
        "汛期": (["的汛期是什么时候？", "几月发大水？"], ["六月", "七月", "八月"], None),
    },
    "一种花": {
        "花期": (["的花期是什么时候？", "什么时候开花？"], ["三月", "五月", "九月"], None),
        "颜色": (["是什么颜色的？", "的颜色是什么？"], ["红色", "黄色", "白色"], None),
        "产地": (["产于哪里？", "的产地是哪里？"], PLACES, None),
    },
    "一道菜": {
        "口味": (
            ["是什么口味？", "吃起来怎么样？", "的口味如何？"],
            ["酸甜", "麻辣", "清淡"],
            None,
        ),
        "主料": (["用什么做的？", "的主料是什么？"], ["豆腐", "鲜鱼", "土豆"], None),
        "烹饪时间": (["要做多久？", "的烹饪时间是多少？"], "{n}分钟", (5, 90)),
    },
}
OPENINGS = ["", "请问", "你知道", "我想知道"]


def value(rng, spec, bounds):
    return spec.format(n=rng.randint(*bounds)) if bounds else rng.choice(spec)


def make(rng, subjects=320, train_share=0.85, per_subject=6):
    """The triples `(subject, relation, object)` and the questions, training and held out."""
    names = rng.sample([a + b for a in FIRST for b in SECOND], subjects * 9 // 10)
    shared = set(rng.sample(names, subjects - len(names)))
    triples, questions = [], ([], [])
    for name in names:
        part = questions[rng.random() >= train_share]
        for kind in rng.sample(sorted(KINDS), 2 if name in shared else 1):
            subject = f"{name}（{kind}）" if name in shared else name
            rows = [(r, *spec) for r, spec in KINDS[kind].items()]
            facts = {r: value(rng, answers, bounds) for r, _, answers, bounds in rows}
            triples += [(subject, relation, target) for relation, target in facts.items()]
            for _ in range(per_subject):
                relation, wordings, _, _ = rng.choice(rows)
                mention = f"{name}这{kind[1:]}" if name in shared else name
                text = rng.choice(OPENINGS) + mention + rng.choice(wordings)
                part.append((text, f"{subject} ||| {relation} ||| {facts[relation]}"))
    return triples, [list(dict.fromkeys(part)) for part in questions]


def write(path, lines):
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn at random")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="directory")
    arguments = parser.parse_args()
    triples, parts = make(random.Random(arguments.seed))
    write(arguments.out / "knowledge.tsv", ("\t".join(triple) for triple in triples))
    for name, part in zip(("train", "valid"), parts, strict=True):
        rows = (
            {"id": f"{name}-{i}", "question": question, "answer": answer}
            for i, (question, answer) in enumerate(part, 1)
        )
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        write(arguments.out / f"knowledge_{name}.jsonl", lines)


if __name__ == "__main__":
    main()
