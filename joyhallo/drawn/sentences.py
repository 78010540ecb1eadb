"""Sentences to be spoken: everyday Mandarin words in pinyin, in any order, and some plain English.

Words and sentences of the validation split never occur in training.
"""

from __future__ import annotations

import hashlib

import numpy as np

from ..data.dataset import Split

HELD_OUT = 0.2  # of the words

MANDARIN = """
ni3hao3 zai4jian4 xie4xie5 peng2you3 lao3shi1 xue2sheng1 xue2xiao4 tong2xue2 gong1zuo4 gong1si1 gong1yuan2 jia1ting2
ba4ba5 ma1ma5 ge1ge5 di4di5 jie3jie5 mei4mei5 ye2ye5 nai3nai5 hai2zi5 nü3er2 er2zi5 xian1sheng5 tai4tai5 ren2men5
jin1tian1 ming2tian1 zuo2tian1 xian4zai4 zao3shang5 wan3shang5 zhong1wu3 shi2jian1 xing1qi1 sheng1ri4 chun1tian1
xia4tian1 qiu1tian1 dong1tian1 tian1qi4 xia4yu3 gua1feng1 tai4yang2 yue4liang5 xing1xing5 bai2yun2 da4hai3 he2liu2
shan1shang5 hua1duo3 shu4mu4 cao3di4 mao1mi1 xiao3gou3 niao3er2 yu2er2 hu2die2 xiong2mao1 lao3hu3 da4xiang4 ping2guo3
xiang1jiao1 xi1gua1 pu2tao5 mi3fan4 mian4tiao2 bao1zi5 jiao3zi5 ji1dan4 niu2nai3 dou4fu5 shu1cai4 kai1shui3 ka1fei1
hong2cha2 bei1zi5 pan2zi5 kuai4zi5 zhuo1zi5 yi3zi5 fang2zi5 fang2jian1 men2kou3 chuang1hu5 chu2fang2 yi1fu5 mao4zi5
xie2zi5 ku4zi5 qun2zi5 yan3jing4 shou3biao3 dian4hua4 dian4shi4 dian4nao3 shou3ji1 yin1yue4 dian4ying3 xin1wen2
bao4zhi3 shu1ben3 gu4shi5 wen4ti2 da2an4 yu3yan2 han4yu3 ying1yu3 fa3yu3 zi4dian3 qian1bi3 huo3che1 qi4che1 fei1ji1
di4tie3 zi4xing2che1 lu4shang5 che1zhan4 ji1chang3 yi1yuan4 yi1sheng1 yin2hang2 shang1dian4 shi4chang3 bei3jing1
shang4hai3 guang3zhou1 zhong1guo2 mei3guo2 ying1guo2 ri4ben3 fa3guo2 cheng2shi4 nong2cun1 shi4jie4 xi3huan5 kan4jian4
ting1shuo1 zhi1dao5 jue2de5 xi1wang4 ren4shi5 ming2bai5 bang1zhu4 xue2xi2 kai1shi3 jie2shu4 chi1fan4 he1shui3
shui4jiao4 qi3chuang2 shuo1hua4 chang4ge1 tiao4wu3 pao3bu4 you2yong3 da3qiu2 hua4hua4 xie3zi4 mai3dong1xi5 zuo4fan4
xi3shou3 hui2jia1 chu1men2 lü3xing2 zhao4xiang4 xiu1xi5 deng3dai4 can1jia1 fu4xi2 zhun3bei4 piao4liang5 gao1xing4
kuai4le4 gan1jing4 an1jing4 re4nao5 rong2yi4 kun4nan5 zhong4yao4 you3yi4si5 pian2yi5 xin1xian1 hong2se4 lan2se4 lü4se4
huang2se4 hei1se4 yi2ge4 liang3ge4 san1tian1 si4nian2 wu3fen1 liu4dian3 qi1yue4 ba1hao4 jiu3shi2 shi2wan4 fei1chang2
te4bie2 yi3jing1 chang2chang2 ye3xu3 dang1ran2 yin1wei4 suo3yi3 dan4shi4 ru2guo3
"""

ENGLISH = """
The morning train leaves before seven.
My father bought a small blue boat.
Please open the window, it is warm.
We walked along the river for hours.
She put five apples on the table.
How far away is the nearest farm?
Both of my brothers play the piano.
A white bird flew over the house.
Would you like some more coffee?
The children are building a paper bridge.
Tomorrow will be cloudy with some rain.
He forgot his umbrella on the bus.
Many people visit the museum in May.
I hope you have a pleasant evening.
The cook put too much pepper in the soup.
Her voice was calm and very clear.
Pay for the bread and the milk.
They moved to a bigger apartment.
The old map shows a way through the wood.
Nobody saw who opened the gate.
What time does the movie begin?
Above the village the snow never melts.
Bob and Mary have five cups of tea.
You may borrow my bike for a week.
The farmer's pump broke in the middle of summer.
Push the button and wait for the beep.
We found a map of the bay.
"""


def words(split: Split) -> list[str]:
    return [word for word in MANDARIN.split() if _is_held_out(word) == (split == "validation")]


def english(split: Split) -> list[str]:
    known = ENGLISH.strip().splitlines()
    return [sentence for sentence in known if _is_held_out(sentence) == (split == "validation")]


def _is_held_out(text: str) -> bool:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < HELD_OUT * 16**8


def mandarin_sentence(rng: np.random.Generator, split: Split) -> str:
    """Five to nine words, mostly with a pause between them."""
    chosen = [str(word) for word in rng.choice(words(split), rng.integers(5, 10))]
    if rng.random() < 0.7:
        chosen[rng.integers(1, len(chosen) - 1)] += ","
    return " ".join(chosen) + "."


def english_sentence(rng: np.random.Generator, split: Split) -> str:
    return str(rng.choice(english(split)))
