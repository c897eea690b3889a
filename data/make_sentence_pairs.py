"""Makes the small sentence pairs of `recipes/text_matching.py`, from phrases.

    python data/make_sentence_pairs.py     # writes data/sentence_pairs_{train,valid}.tsv

A sentence asks something about a service. A pair asks the same in other words (1), or nearly the
same (0): something else about the service, or the same about another service. Held-out pairs are
about services that no training pair mentions, and one sentence of each is worded as none there.
"""

import argparse
import os
import random
from pathlib import Path

TRAIN_SERVICES = (
    "短信提醒 自动续费 夜间模式 国际漫游 云备份 来电显示 家庭套餐 电子发票 人脸登录 "
    "运费保险 免费试用 会员积分 天气预报 在线缴费 宽带提速 预约挂号 远程办公 学生优惠"
).split()
VALID_SERVICES = "指纹支付 语音助手 流量共享 视频彩铃 定时发送 旧机回收 健康打卡".split()
# what is asked: wordings of training, and those of held-out pairs only
QUESTIONS = {
    "open": (
        ("怎么开通{}", "如何开启{}", "{}在哪里打开", "我想用{}，怎么设置"),
        ("怎样才能用上{}", "{}的开通方法是什么"),
    ),
    "close": (
        ("怎么关闭{}", "如何取消{}", "{}在哪里关掉", "我不想用{}了，怎么停"),
        ("怎样才能停用{}", "{}的取消方法是什么"),
    ),
    "price": (
        ("{}要多少钱", "{}怎么收费", "开通{}贵不贵", "{}的费用是多少"),
        ("{}每个月扣几块钱", "用{}得花多少"),
    ),
    "failure": (
        ("{}用不了", "{}出错了怎么办", "为什么打不开{}", "{}一直没有反应"),
        ("{}坏了", "{}突然不能用了"),
    ),
    "duration": (
        ("{}多久生效", "{}要等几天", "{}什么时候能好", "开了{}，多长时间管用"),
        ("{}需要多少时间才起作用", "几天之后{}能用"),
    ),
    "change": (
        ("怎么修改{}", "{}能换一种吗", "如何变更{}", "我要把{}换成别的"),
        ("{}在哪里更改", "怎样调整{}"),
    ),
    "safety": (
        ("{}安全吗", "{}会不会泄露信息", "用{}有没有风险", "{}靠得住吗"),
        ("{}会不会被盗用", "可以放心用{}吗"),
    ),
    "meaning": (
        ("{}是什么", "什么叫{}", "{}是什么意思", "谁能介绍一下{}"),
        ("{}有什么用", "给我讲讲{}"),
    ),
}
STARTS = ("", "", "", "请问", "你好，", "问一下，")
ENDS = ("？", "？", "", "，谢谢")


def sentence(rng, wording, service):
    return rng.choice(STARTS) + wording.format(service) + rng.choice(ENDS)


def pair(rng, services, held_out):
    """Two sentences and their label."""
    label = rng.randrange(2)
    ask, service = rng.choice(sorted(QUESTIONS)), rng.choice(services)
    first = rng.choice(QUESTIONS[ask][held_out])
    other_ask, other_service = ask, service
    if not label and rng.randrange(2):
        other_ask = rng.choice([name for name in sorted(QUESTIONS) if name != ask])
    elif not label:
        other_service = rng.choice([name for name in services if name != service])
    wordings = [wording for wording in QUESTIONS[other_ask][0] if wording != first]
    second = rng.choice(wordings)
    sentences = [sentence(rng, first, service), sentence(rng, second, other_service)]
    rng.shuffle(sentences)
    return (*sentences, label)


def make(seed, services, held_out, size):
    """`size` different pairs."""
    rng, pairs = random.Random(seed), {}
    while len(pairs) < size:
        pairs[pair(rng, services, held_out)] = True
    return list(pairs)


def write(path, pairs):
    temporary = path.with_suffix(".tmp")
    lines = "".join(f"{first}\t{second}\t{label}\n" for first, second, label in pairs)
    temporary.write_text(lines, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    for name, services, size, seed in (
        ("train", TRAIN_SERVICES, 1000, 2 * options.seed),
        ("valid", VALID_SERVICES, 200, 2 * options.seed + 1),
    ):
        pairs = make(seed, services, name == "valid", size)
        write(options.out / f"sentence_pairs_{name}.tsv", pairs)
