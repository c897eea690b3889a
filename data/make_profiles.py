"""Makes the small labelled profiles of `recipes/sequence_labelling.py`, from phrases.

    python data/make_profiles.py            # writes data/profiles_{train,valid}.bmes

A sentence tells of invented people and companies; its entities are NAME, ORG, TITLE, EDU (degree),
PRO (field of study) and LOC. The surnames, companies and places of held-out sentences occur in no
training sentence, nor do some of their titles. Words like titles that name nobody's post are
no entities, so context decides.
"""

import argparse
import os
import random
import re
from pathlib import Path

# of every pair, the first is for training, the second for held-out sentences
SURNAMES = ("王李张刘陈杨赵黄周吴徐孙马朱胡", "林何郭罗高梁宋郑")
GIVEN = "明丽强芳军敏静磊洋勇艳杰娟涛超霞平刚桂英华建文志玉秀国春海天"
BRANDS = ("华安明正天宏光泰新达信德恒立中永", "远博瑞丰合众金诚")
PLACES = ("东原 西川 南湖 北岭 中谷 临海".split(), "安溪 长丘 平沙".split())
FIELDS = "科技 电子 能源 食品 建筑 医药 投资 传媒 电力 化工".split()
FORMS = "有限公司 股份有限公司 集团 研究院 公司".split()
SCHOOLS = "大学 理工大学 师范学院 医学院 财经大学".split()
UNITS = "财务部 市场部 技术中心 办公室 董事会".split()
PREFIXES = ("副 高级 助理 首席 常务副 代".split(), "执行 前任".split())
POSTS = "总经理 经理 董事 董事长 监事 工程师 秘书 会计师 教授 主任 总裁".split()
DEGREES = "本科 硕士 博士 大专 硕士研究生 博士研究生 大学本科 中专".split()
MAJORS = "会计学 电气工程 法律 计算机 金融学 机械制造 工商管理 临床医学".split()

SENTENCES = (
    "{NAME}，{sex}，{year}年生，{LOC}人，{EDU}，现任{ORG}{TITLE}。",
    "{NAME}先生，{EDU}学历，{TITLE}，历任{ORG}{TITLE}、{TITLE}，{ORG}{TITLE}。",
    "{NAME}女士，{PRO}专业{EDU}，{year}年起任{ORG}{unit}{TITLE}。",
    "{ORG}宣布，{TITLE}{NAME}因工作变动辞职，由{NAME}接任。",
    "昨日，{ORG}{TITLE}{NAME}在{LOC}与{ORG}{TITLE}{NAME}见面。",
    "{year}年毕业于{ORG}，获{PRO}{EDU}学位，后在{ORG}工作，任{TITLE}兼{TITLE}。",
    "{NAME}、{NAME}、{NAME}三人为{ORG}{TITLE}。",
    "据{NAME}介绍，{ORG}将在{LOC}设立分公司。",
    "曾任{ORG}{TITLE}，{ORG}{TITLE}，{year}年至今任本公司{TITLE}。",
    "{LOC}的{NAME}说，他想当{post}，可是公司不缺{post}。",
    "公司的{post}们开会，{NAME}没有来，{TITLE}{NAME}也没有来。",
    "开会时没有人提到{ORG}，只有{NAME}说起了{PRO}。",
)


class Words:
    """Draws the words of one split, 0: training, 1: held out."""

    def __init__(self, rng, split):
        self.rng, self.split = rng, split

    def entity(self, kind):
        draw, split = self.rng.choice, self.split
        if kind == "NAME":
            given = "".join(self.rng.sample(GIVEN, self.rng.choice((1, 2, 2))))
            return draw(SURNAMES[split]) + given
        if kind == "ORG":
            place = draw(PLACES[split]) if self.rng.random() < 0.4 else ""
            if self.rng.random() < 0.2:
                return (place or draw(PLACES[split])) + draw(SCHOOLS)
            brand = "".join(self.rng.sample(BRANDS[split], 2))
            return place + brand + draw(FIELDS) + draw(FORMS)
        if kind == "TITLE":
            known = PREFIXES[0] + PREFIXES[1] * split
            return (draw(known) if self.rng.random() < 0.5 else "") + draw(POSTS)
        if kind == "LOC":
            return draw(PLACES[split]) + draw(("省", "市", ""))
        return draw({"EDU": DEGREES, "PRO": MAJORS}[kind])

    def other(self, kind):
        if kind == "year":
            return str(self.rng.randrange(1950, 2020))
        return self.rng.choice({"sex": "男女", "unit": ["", *UNITS], "post": POSTS}[kind])


def sentence(words):
    """Characters and their labels, as pairs."""
    pairs = []
    for text, kind in re.findall(r"([^{}]+)|\{(\w+)\}", words.rng.choice(SENTENCES)):
        if not kind.isupper():
            pairs += [(c, "O") for c in text or words.other(kind)]
            continue
        found = words.entity(kind)
        middle = "M" * (len(found) - 2)
        prefixes = "S" if len(found) == 1 else f"B{middle}E"
        pairs += [(c, f"{prefix}-{kind}") for c, prefix in zip(found, prefixes, strict=True)]
    return pairs


def make(seed, split, size):
    """`size` different sentences."""
    words, found = Words(random.Random(seed), split), {}
    while len(found) < size:
        pairs = sentence(words)
        found["".join(c for c, _ in pairs)] = pairs
    return list(found.values())


def write(path, sentences):
    temporary = path.with_suffix(".tmp")
    blocks = ("".join(f"{c} {label}\n" for c, label in pairs) for pairs in sentences)
    temporary.write_text("\n".join(blocks), encoding="utf-8", newline="\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    for number, (name, size) in enumerate((("train", 800), ("valid", 150))):
        sentences = make(2 * options.seed + number, number, size)
        write(options.out / f"profiles_{name}.bmes", sentences)
