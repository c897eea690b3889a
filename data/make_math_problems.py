"""Makes the sample of Chinese school word problems in this folder, in ape210k's format.

    python data/make_math_problems.py --seed 0 --out data

writes `math_problems_train.jsonl` and `math_problems_valid.jsonl`; the same seed, the same bytes.
Every problem is a wording of one of the templates below, with names, things and numbers filled in.
What validation asks is new in two ways: each template keeps one combination of its alternative
phrases for validation, and every number of two digits or more whose digit sum is a multiple of 7 is
kept for validation too. So a model has to have learnt to copy numbers and to read.

It needs the package to be installed (`pip install -e .`).
"""

import argparse
import itertools
import json
import os
import random
import re
from fractions import Fraction
from pathlib import Path

from kexue_keras.equations import evaluate

NAMES = "小明 小华 小军 小刚 小林 小东 小宇 小杰 小强 小龙".split()
THINGS = (
    "个苹果 个橘子 个气球 支铅笔 支钢笔 本图书 本画册 张邮票 张卡片 颗糖果 朵红花 块积木".split()
)
GOODS = "件衣服 双鞋子 个书包 盏台灯 台风扇 个足球 把雨伞 个水壶".split()
FRACTIONS = "1/2 1/3 2/3 1/4 3/4 1/5 2/5 3/5 4/5 1/6 5/6 1/8 3/8 5/8".split()

# Text, equation, form of the answer, ranges of the numbers as name=low-high/step.
# [a|b] are alternative phrases, {n} {m} names, {u} {t} a measure word and its thing, {v} {g} a
# measure word and goods to buy, {f} a fraction. Forms: integer, decimal, percent, fraction.
TEMPLATES = [
    (
        "{n}[原来有|本来有]{a}{u}{t}，[又买来|又得到]{b}{u}，现在[有多少|有几]{u}？",
        "{a}+{b}", "integer", "a=10-400 b=5-300",
    ),
    (
        "{n}[原来有|一共有]{a}{u}{t}，[送给|借给]{m}{b}{u}，还剩[多少|几]{u}？",
        "{a}-{b}", "integer", "a=30-600 b=5-300",
    ),
    (
        "{n}[每天做|每天收集]{a}{u}{t}，{b}天[一共|总共]有[多少|几]{u}？",
        "{a}*{b}", "integer", "a=11-99 b=3-30",
    ),
    (
        "把{a}{u}{t}[平均分给|平均发给]{b}个[小朋友|同学]，每人[多少|几]{u}？",
        "{a}/{b}", "integer", "a=20-600 b=3-30",
    ),
    (
        "{n}有{a}{u}{t}，{m}[比他多|比他多了]{b}{u}，{m}有[多少|几]{u}？",
        "{a}+{b}", "integer", "a=10-300 b=5-90",
    ),
    (
        "{n}有{a}{u}{t}，{m}[比他少|比他少了]{b}{u}，{m}有[多少|几]{u}？",
        "{a}-{b}", "integer", "a=50-400 b=5-90",
    ),
    (
        "{n}有{a}{u}{t}，{m}的是他的{b}倍，{m}有[多少|几]{u}[？|呢？]",
        "{a}*{b}", "integer", "a=11-150 b=2-9",
    ),
    (
        "{n}有{a}{u}{t}，[是{m}的|正好是{m}的]{b}倍，{m}有[多少|几]{u}？",
        "{a}/{b}", "integer", "a=20-400 b=2-9",
    ),
    (
        "{n}有{a}{u}{t}，{m}[的比他的|比他的]{b}倍多{c}{u}，{m}有[多少|几]{u}？",
        "{a}*{b}+{c}", "integer", "a=11-90 b=2-9 c=2-40",
    ),
    (
        "{n}有{a}{u}{t}，{m}[的比他的|比他的]{b}倍少{c}{u}，{m}有[多少|几]{u}？",
        "{a}*{b}-{c}", "integer", "a=21-90 b=2-9 c=2-40",
    ),
    (
        "每{v}{g}{a}元，[买|要买]{b}{v}，[一共|总共]要付多少元？",
        "{a}*{b}", "integer", "a=11-250 b=3-40",
    ),
    (
        "买{b}{v}{g}[一共|总共]花了{a}元，每{v}[多少|几]元？",
        "{a}/{b}", "integer", "a=60-900 b=3-30",
    ),
    (
        "一{v}{g}{a}元，{n}[付了|给了]{b}元，[应找回|要找回]多少元？",
        "{b}-{a}", "integer", "a=12-480 b=50-500/10",
    ),
    (
        "{n}带了{a}元，买{b}{v}{g}，每{v}{c}元，[还剩|剩下][多少|几]元？",
        "{a}-{b}*{c}", "integer", "a=200-900 b=2-9 c=11-80",
    ),
    (
        "一{v}{g}[原价|定价]{a}元，[降价|便宜]{p}%，现价多少元？",
        "{a}*(1-{p}%)", "integer", "a=40-800/20 p=5-60/5",
    ),
    (
        "一{v}{g}[原价|定价]{a}元，[涨价|加价]{p}%，现价多少元？",
        "{a}*(1+{p}%)", "integer", "a=40-800/20 p=5-60/5",
    ),
    (
        "一{v}{g}[降价|便宜]{p}%后卖{a}元，[原价|定价]多少元？",
        "{a}/(1-{p}%)", "integer", "a=32-480 p=10-60/5",
    ),
    (
        "一本书有{a}页，[{n}读了|{n}看了]它的{f}，[读了|看了]多少页？",
        "{a}*{f}", "integer", "a=24-480",
    ),
    (
        "一本书有{a}页，{n}[读了|看了]它的{f}，[还剩|剩下]多少页？",
        "{a}*(1-{f})", "integer", "a=24-480",
    ),
    (
        "{n}[读了|看了]{a}页书，[正好是|占]全书的{f}，全书多少页？",
        "{a}/{f}", "integer", "a=12-240",
    ),
    (
        "一本书有{a}页，{n}每天[读|看]{b}页，{c}天后[还剩|剩下]多少页？",
        "{a}-{b}*{c}", "integer", "a=150-600 b=11-40 c=3-9",
    ),
    (
        "一本书有{a}页，已经[读了|看了]{b}页，[其余|剩下的]{c}天读完，每天读多少页？",
        "({a}-{b})/{c}", "integer", "a=100-500 b=20-200 c=3-20",
    ),
    (
        "[一辆汽车|一列火车]每小时行{a}千米，{b}小时[行|能行]多少千米？",
        "{a}*{b}", "integer", "a=40-200 b=3-20",
    ),
    (
        "[一辆汽车|一列火车]{b}小时[行|行了]{a}千米，每小时行多少千米？",
        "{a}/{b}", "integer", "a=90-900 b=2-15",
    ),
    (
        "甲乙两地[相距|的路长]{a}千米，[汽车|火车]每小时行{b}千米，要几小时到达？",
        "{a}/{b}", "integer", "a=90-900 b=30-150",
    ),
    (
        "甲车每小时行{a}千米，乙车[每小时行|的是]{b}千米，[相向而行|同时相对开出]{c}小时相遇，路长多少千米？",
        "({a}+{b})*{c}", "integer", "a=40-95 b=40-95 c=2-9",
    ),
    (
        "[长方形|长方形操场]的长是{a}米，宽是{b}米，[周长|它的周长]是多少米？",
        "({a}+{b})*2", "integer", "a=12-250 b=5-120",
    ),
    (
        "[长方形|长方形操场]的长是{a}米，宽是{b}米，[面积|它的面积]是多少平方米？",
        "{a}*{b}", "integer", "a=12-99 b=5-60",
    ),
    (
        "[正方形|正方形操场]的边长是{a}米，[面积|它的面积]是多少平方米？",
        "{a}**2", "integer", "a=5-250",
    ),
    (
        "三角形的底是{a}米，高是{b}米，[面积|它的面积][是|等于]多少平方米？",
        "{a}*{b}/2", "integer", "a=12-99 b=4-60",
    ),
    (
        "[圆形花坛|圆形水池]的直径是{a}米，[周长|它的周长]是多少米？",
        "3.14*{a}", "decimal", "a=3-300",
    ),
    (
        "{n}[投球|射门]{a}次，中了{b}次，[中的占|命中]百分之几？",
        "{b}/{a}", "percent", "a=20-250 b=10-200",
    ),
    (
        "[一班|二班]有{a}人，男生{b}人，男生[占|是]全班的几分之几？",
        "{b}/{a}", "fraction", "a=24-80 b=8-40",
    ),
    (
        "[一班|二班]有{a}人，其中{p}%是男生，[女生|女同学]有多少人？",
        "{a}*(1-{p}%)", "integer", "a=20-400/4 p=20-80/5",
    ),
    (
        "[一班|二班]男女生[人数比是|的比是]{c}：{d}，共有{a}人，男生多少人？",
        "{a}*{c}/({c}+{d})", "integer", "a=24-300 c=2-9 d=2-9",
    ),
    (
        "[工厂|工地]要修{a}米的路，每天修{b}米，[修了|已修]{c}天，还要修多少米？",
        "{a}-{b}*{c}", "integer", "a=300-990 b=11-60 c=3-12",
    ),
    (
        "[工厂|车间]计划{b}天做{a}个零件，[实际|实际上]{c}天完成，每天多做多少个？",
        "{a}/{c}-{a}/{b}", "integer", "a=60-900 b=5-30 c=3-20",
    ),
    (
        "每根[绳子|铁丝]长{c}{f}米，{a}根[一共|总共]长多少米？",
        "{c}{f}*{a}", "integer", "a=12-96 c=2-9",
    ),
    (
        "[果园|农场]里有{a}行树，每行{b}棵，[又种了|又种下]{c}棵，共有多少棵？",
        "{a}*{b}+{c}", "integer", "a=6-40 b=6-25 c=11-99",
    ),
    (
        "[水果店|商店]运来{a}箱梨，每箱{b}千克，[卖出|卖掉]{c}千克，剩多少千克？",
        "{a}*{b}-{c}", "integer", "a=8-40 b=8-25 c=11-200",
    ),
    (
        "{n}[三次|三门]的成绩是{a}分、{b}分和{c}分，[平均|平均分是]多少分？",
        "({a}+{b}+{c})/3", "integer", "a=60-100 b=60-100 c=60-100",
    ),
    (
        "[银行|存折]存入{a}元，年利率{p}%，{c}年[利息|的利息]是多少元？",
        "{a}*{p}%*{c}", "integer", "a=100-950/50 p=2-8 c=2-5",
    ),
]  # fmt: skip


def held_out(number: int) -> bool:
    """Whether a number is kept for validation."""
    return number >= 10 and sum(map(int, str(number))) % 7 == 0


def wordings(text: str) -> list[str]:
    """All combinations of the alternative phrases; the last is kept for validation."""
    pieces = [piece.split("|") for piece in re.split(r"[\[\]]", text)]
    return ["".join(combination) for combination in itertools.product(*pieces)]


def written(value: Fraction, form: str) -> str | None:
    """The answer as a textbook gives it, or None where the value does not suit the form."""
    if value <= 0:
        return None
    if form == "percent":
        whole = value * 100
        return f"{whole}%" if whole.denominator == 1 and whole < 100 else None
    if form == "fraction":
        return f"({value})" if value.denominator > 1 and value < 1 else None
    if form == "decimal":
        return f"{float(value):.2f}".rstrip("0").rstrip(".")
    return str(value) if value.denominator == 1 else None


def draw(rng: random.Random, template: tuple[str, str, str, str], valid: bool) -> dict | None:
    """One problem without its id, or None where the numbers drawn do not suit."""
    text, equation, form, ranges = template
    numbers = {}
    for name, low, high, step in re.findall(r"(\w)=(\d+)-(\d+)(?:/(\d+))?", ranges):
        numbers[name] = rng.randrange(int(low), int(high) + 1, int(step or 1))
    first, second = rng.sample(NAMES, 2)
    thing, goods = rng.choice(THINGS), rng.choice(GOODS)
    words = {"n": first, "m": second, "f": f"({rng.choice(FRACTIONS)})"}
    words |= {"u": thing[0], "t": thing[1:], "v": goods[0], "g": goods[1:]}
    if len(set(numbers.values())) < len(numbers):
        return None
    if valid != any(held_out(number) for number in numbers.values()):
        return None
    equation = equation.format(**words, **numbers)
    plain = re.sub(r"(\d+)%", r"(\1/100)", re.sub(r"(\d)(\(\d/\d\))", r"(\1+\2)", equation))
    answer = written(evaluate(plain), form)
    if answer is None:
        return None
    choices = wordings(text)
    wording = choices[-1] if valid else rng.choice(choices[:-1])
    question = wording.format(**words, **numbers)
    return {"original_text": question, "equation": f"x={equation}", "ans": answer}


def make(rng: random.Random, count: int, prefix: str, valid: bool) -> list[dict]:
    """`count` different problems in random order, all templates in equal shares."""
    problems: dict[str, dict] = {}
    while len(problems) < count:
        template = TEMPLATES[len(problems) % len(TEMPLATES)]
        problem = draw(rng, template, valid)
        if problem:
            problems.setdefault(problem["original_text"], problem)
    found = list(problems.values())
    rng.shuffle(found)
    return [{"id": f"{prefix}{i}", **problem} for i, problem in enumerate(found, 1)]


def write(path: Path, problems: list[dict]) -> None:
    """Writes JSON lines; the file appears whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    lines = (json.dumps(problem, ensure_ascii=False) + "\n" for problem in problems)
    unfinished.write_text("".join(lines), encoding="utf-8", newline="\n")
    os.replace(unfinished, path)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="same seed, same files")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder to write to"
    )
    parser.add_argument("--train", type=int, default=3000, help="number of training problems")
    parser.add_argument("--valid", type=int, default=300, help="number of validation problems")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)
    for split, count in (("train", options.train), ("valid", options.valid)):
        path = options.out / f"math_problems_{split}.jsonl"
        write(path, make(rng, count, f"{split}-", split == "valid"))
        print(f"{path}: {count} problems")


if __name__ == "__main__":
    main()
