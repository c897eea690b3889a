"""Makes the small reviews of `recipes/pet.py`, from phrases.

    python data/make_reviews.py            # writes data/reviews_{train,valid}.tsv

A review is about one thing, and says two or three things about it that agree; it is good (1) or bad
(0). Held-out reviews are about things that no training review mentions.
"""

import argparse
import os
import random
from pathlib import Path

TRAIN_THINGS = {
    "酒店": ("房间", "早餐", "前台", "位置", "隔音"),
    "手机": ("屏幕", "电池", "做工", "系统", "声音"),
    "书": ("内容", "印刷", "纸张", "翻译", "故事"),
    "餐厅": ("味道", "服务", "环境", "分量", "上菜速度"),
    "电脑": ("键盘", "屏幕", "散热", "速度", "外观"),
}
VALID_THINGS = {
    "洗发水": ("味道", "包装", "效果", "泡沫", "瓶子"),
    "旅馆": ("床", "浴室", "空调", "老板", "交通"),
    "耳机": ("音质", "线", "佩戴", "包装", "做工"),
}
GOOD = ("很不错", "非常好", "让人喜欢", "比想象的好", "没得挑", "一流", "很用心", "让我惊喜")
BAD = ("太差了", "让人失望", "一般般", "不如想象的好", "问题很多", "糟糕", "很马虎", "让我生气")
GOOD_ENDS = ("下次还会来。", "推荐给大家。", "价格也合适。", "值得购买。", "给五星。", "")
BAD_ENDS = ("再也不来了。", "不推荐。", "价格还不便宜。", "后悔买了。", "想退货。", "")
STARTS = (
    "这次的{}，",
    "朋友介绍的{}，",
    "昨天试了这家的{}，",
    "用了一周的{}，",
    "说说这个{}，",
    "",
)


def review(rng, things):
    """A text and its label."""
    thing = rng.choice(sorted(things))
    label = rng.randrange(2)
    words, ends = ((BAD, BAD_ENDS), (GOOD, GOOD_ENDS))[label]
    parts = rng.sample(things[thing], rng.choice((2, 3)))
    said = [part + word for part, word in zip(parts, rng.sample(words, len(parts)), strict=True)]
    return rng.choice(STARTS).format(thing) + "，".join(said) + "。" + rng.choice(ends), label


def make(seed, things, size):
    """`size` different reviews."""
    rng, reviews = random.Random(seed), {}
    while len(reviews) < size:
        text, label = review(rng, things)
        reviews[text] = label
    return reviews


def write(path, reviews):
    temporary = path.with_suffix(".tmp")
    lines = "".join(f"{text}\t{label}\n" for text, label in reviews.items())
    temporary.write_text(lines, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    for name, things, size, seed in (
        ("train", TRAIN_THINGS, 600, 2 * options.seed),
        ("valid", VALID_THINGS, 200, 2 * options.seed + 1),
    ):
        write(options.out / f"reviews_{name}.tsv", make(seed, things, size))
