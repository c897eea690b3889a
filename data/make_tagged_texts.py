"""Makes the small tagged texts of `recipes/multilabel.py`, from phrases.

    python data/make_tagged_texts.py       # writes data/tagged_texts_{train,valid}.jsonl

A text is a diary entry that tells of one to five activities; its tags say which. A tag never stands
in a text: each is told by one of four phrases, the last of which occurs in held-out texts only. The
k-th tag is drawn with a probability proportional to 1 / k, so most tags are rare.
"""

import argparse
import json
import os
import random
from pathlib import Path

# the most frequent tag first; four phrases of each
TAGS = """
美食: 吃了一碗牛肉面|去老店点了红烧肉|尝了新开的火锅|啃了两只大闸蟹
通勤: 挤了一小时地铁|上班路上堵车|等公交等到迟到|早高峰换了三趟车
家务: 把地板拖了两遍|洗了一大堆衣服|擦了厨房的油烟|收拾了乱糟糟的客厅
天气: 外面下着大雨|太阳晒得人发晕|刮了一整天的风|起了很浓的雾
跑步: 绕着操场跑了五圈|晨跑了三公里|夜里在江边慢跑|练了半程马拉松
电影: 在影院看了首映|重看了一部老片子|买了两张午夜场的票|散场时还在聊剧情
阅读: 读完了一本小说|在图书馆翻杂志|睡前看了几页散文|把那套历史书看到第三卷
购物: 在商场买了外套|抢到了打折的鞋|网上下单了三件东西|拎着大包小包回来
加班: 改方案改到半夜|周末还在公司写报告|下班时楼里只剩我|连着熬了两个通宵赶项目
宠物: 给猫剪了指甲|带狗去打疫苗|换了鱼缸的水|兔子又咬坏了电线
咖啡: 点了一杯拿铁|自己磨豆子手冲|下午靠美式提神|拉花又失败了
音乐: 循环听一张专辑|去现场听了乐队|在琴房弹了一小时|学会了新的吉他和弦
旅行: 坐火车去了海边|订了下个月的民宿|在古城住了两晚|把护照和行李都备好了
游戏: 排位连输五局|和室友打了通宵副本|终于通关了那个关卡|新手柄用着真顺
摄影: 拍到了很美的晚霞|给朋友拍了一组照片|换了广角镜头|在暗房里冲胶卷
园艺: 给月季修了枝|阳台的番茄结果了|换了大花盆|播下一排薄荷种子
考试: 模拟卷错了一半|交卷前还在改答案|成绩比预想的低|背了一晚上的公式
医院: 排队抽血做检查|牙医说要拔智齿|拿了三天的药|复诊时大夫说恢复得不错
健身: 练了深蹲和卧推|教练加了两组动作|做完平板支撑手抖|终于能拉十个引体向上
烘焙: 烤了一炉饼干|面团发酵过头了|给蛋糕抹奶油|新烤箱的第一个吐司
篮球: 打了半场三对三|投进了压哨三分|抢篮板时崴了脚|罚球练了一百个
理财: 买了一点基金|记账发现超支|存了一笔定期|股票又跌了
租房: 和房东谈续约|看了三套公寓|中介又涨了价|合租的人要搬走
婚礼: 给新人当伴娘|抢到了捧花|宴席摆了二十桌|试了一下午的礼服
编程: 调了一天的程序|修好一个奇怪的漏洞|写了个小脚本|代码终于跑通了
绘画: 画了一张水彩|素描课画石膏像|给墙面涂了色彩|买了新的颜料和画笔
爬山: 登上了山顶看云海|沿着石阶走到膝盖疼|半山腰的亭子歇脚|背着帐篷走完了山脊
游泳: 在泳池游了一千米|学换气呛了水|蛙泳总算标准了|戴着泳镜潜到池底
育儿: 哄宝宝睡觉|给孩子讲睡前故事|半夜起来换尿布|女儿会叫爸爸了
驾照: 科目二倒库压线|教练骂我离合太快|路考一把过|侧方停车练了一上午
面试: 回答了人事的问题|二面聊了很久|简历投了十家|等录用通知等得心慌
理发: 把刘海剪短了|烫了个卷发|染回了黑色|师傅推荐办卡
快递: 取件码找不到了|包裹寄丢了|驿站排着长队|箱子在路上压坏了
搬家: 打包了二十个纸箱|货车来回跑两趟|新房子还没通网|把沙发抬上了六楼
足球: 守门扑出点球|看球队踢加时|盘带过了两个人|前锋射门打中门柱
钓鱼: 在水库坐了一天|鱼漂一动不动|钓上一条大鲤鱼|夜里守着鱼竿
露营: 在湖边搭帐篷|篝火旁数星星|睡袋有点冷|天幕被风吹倒
化妆: 试了新口红|眼线画歪了|粉底色号买错|学会了贴假睫毛
书法: 临了一页字帖|磨墨写春联|楷书还是歪|毛笔开叉了
下棋: 和爷爷杀了两盘|残局没守住|布局被对手看穿|悔了一步马
骑车: 沿江骑了四十公里|车链掉了两次|爬坡差点推车|给轮胎补了气
瑜伽: 拉伸到浑身酸|下犬式撑不住|垫子上冥想|倒立终于稳了
滑雪: 在雪道摔了好多跤|换了单板|缆车上冻得发抖|从高级道冲下来
手工: 织了一条围巾|做了皮质卡包|十字绣绣到一半|用黏土捏了小人
志愿: 去敬老院陪老人|在路口指挥行人|给山区寄冬衣|周末到社区捡垃圾
话剧: 小剧场的演出很好笑|谢幕时鼓掌很久|主演忘了台词|坐在第一排看独角戏
博物馆: 看了青铜器展|听讲解讲瓷器|展柜前人很多|对着壁画站了好久
羽毛球: 双打赢了两局|球拍线断了|杀球总是下网|接发球老是慢半拍
舞蹈: 排练新的编舞|街舞课跟不上拍|压腿疼得叫|跳完一支探戈
茶艺: 泡了一壶龙井|学着温杯洗茶|买了紫砂壶|品了三种普洱
天文: 用望远镜看土星|等到了流星雨|拍下月食全过程|认出了猎户座
潜水: 在珊瑚旁看小丑鱼|检查氧气瓶|耳压没平衡好|下到二十米深
航模: 遥控飞机撞了树|给机翼换电机|试飞成功了|调好了螺旋桨
陶艺: 拉坯拉塌了|给杯子上釉|等窑里烧好|手上全是泥
马术: 第一次骑马小跑|给马刷毛|缰绳勒得手疼|跨过了低障碍
酿酒: 泡了一坛梅子|米酒发酵冒泡|给葡萄去梗压汁|尝了自家的黄酒
养蜂: 割了一框蜂蜜|蜂箱要防寒|被蜜蜂蛰了手|找到了蜂王
魔术: 练习变扑克|硬币消失被识破|给孩子们变鸽子|空帽子里掏出丝巾
攀岩: 指力撑不到顶|绕绳结检查两遍|抱石线又掉了|岩壁上抠住小点
收藏: 淘到一枚旧邮票|给硬币配了盒子|旧货市场捡漏|鉴定说是仿品
"""
TIMES = ("今天", "昨天", "周末", "早上", "前几天", "放假了，", "忙里偷闲，", "")
LINKS = ("，", "，后来", "，然后", "，还", "。接着", "。晚上", "，顺便")
ENDS = ("。", "，挺开心的。", "，有点累。", "，就这样过了一天。", "！", "，明天继续。")


def read_tags():
    """Tag to phrases, the most frequent first."""
    rows = (line.split(": ") for line in TAGS.strip().split("\n"))
    return {tag: phrases.split("|") for tag, phrases in rows}


def draw_tags(rng, tags):
    """One to five different tags, by Zipf's law."""
    weights = [1 / rank for rank in range(1, len(tags) + 1)]
    wanted, drawn = rng.choice((1, 2, 2, 3, 3, 4, 5)), []
    while len(drawn) < wanted:
        tag = rng.choices(tags, weights)[0]
        if tag not in drawn:
            drawn.append(tag)
    return drawn


def entry(rng, phrases, known):
    """A text and its tags; of each tag's phrases, the first `known` may occur."""
    drawn = draw_tags(rng, list(phrases))
    told = [rng.choice(phrases[tag][:known]) for tag in drawn]
    text = rng.choice(TIMES) + told[0]
    for phrase in told[1:]:
        text += rng.choice(LINKS) + phrase
    return text + rng.choice(ENDS), sorted(drawn)


def make(seed, known, size):
    """`size` different texts with their tags."""
    rng, phrases, entries = random.Random(seed), read_tags(), {}
    while len(entries) < size:
        text, tags = entry(rng, phrases, known)
        entries[text] = tags
    return entries


def write(path, entries):
    temporary = path.with_suffix(".tmp")
    rows = ({"text": text, "tags": tags} for text, tags in entries.items())
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    temporary.write_text(lines, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    for name, known, size, seed in (
        ("train", 3, 1200, 2 * options.seed),
        ("valid", 4, 500, 2 * options.seed + 1),
    ):
        write(options.out / f"tagged_texts_{name}.jsonl", make(seed, known, size))
