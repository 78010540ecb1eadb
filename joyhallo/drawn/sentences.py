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

# For ears, which should hear words in any order and know no sentence by heart.

ENGLISH_WORDS = """
about above across after again air all almost along always amber and animal answer any apple arm around ask autumn
away baby back bad bag ball band bath beach bear beautiful because bed been before begin below best better between big
bird black blue board boat body bone book both bottom box boy bread break breath bridge bright bring brother brown
build bump burn bus busy but buy cake calm camera camp car card care carry castle catch chair change cheap cheese
child church city class clean clear clever climb clock close cloth cloud coat coffee cold come cook cool corner could
count country course cover crowd cup cut dance dark daughter day deep different dinner do doctor dog door double down
dream dress drink drive dry each early earth east easy eat egg eight either empty end enough even evening every
example eye face fair fall family far farm fast father feather feel few field fifty fight fill film find fine finger
fire first fish five flat floor flower fly follow food foot for forget fork found four free fresh friday friend from
front fruit full funny game garden gave get giant girl give glass go gold good grass great green ground group grow
guess guide half hall hammer hand happy hard have he head hear heart heavy help her here high hill him hope horse hot
hour house how hundred hurry ice if important inside island it jacket jam jelly jewel job join journey judge juice
jump june just keep key kind king kitchen kitten knife know lady lake lamp land language large last late laugh law
leaf learn leave left leg lemon letter light like line lion list little live long look loud love low lunch machine
make man many map march market may me measure meat meet member men middle mile milk mind minute mirror mix money
monkey month moon more morning mother mountain mouse mouth move much museum music must my name narrow near neck need
never new next nice night nine no noise north nose not nothing now number nurse object ocean of off often oil old
olive on once one onion only open orange orchard other our out over oyster page paint pair palm paper park party past
path pay peace pear pen people pepper perfect person photo piano picture piece pink place plane plant plate play
please pleasure plenty pocket point police poor post potato pound power press pretty price problem pull pump purple
push put quarter queen question quick quiet quite rabbit rain raise read ready red remember rest rice rich ride right
ring river road rock roof room root rose round rough rule run sad safe salt same sand save say school sea season seat
second see seed sell send seven shadow shall shape share sharp she sheep ship shirt shoe shop short should show shut
side sign silver simple sing sister sit six size skin sky sleep slow small smell smile smooth snow so soap soft some
son song soon sound soup south space speak special spoon spring square stand star start station stay step still stone
stop storm story straight street strong sugar summer sun supper sure sweet swim table tail take talk tall taste tea
teach team tell ten than thank that the their them then there these they thick thin thing think third this those
thought thousand three through throw thumb time tiny to today together tomorrow too tooth top touch toward town toy
train travel tree true try turn twelve twenty two umbrella uncle under until up us use useful valley value van vase
very view village violin visit voice vowel wait walk wall want warm was wash watch water wave way we wear weather
wedding week welcome well west wet what wheel when where which while white who whole why wide wife wild win wind
window winter wish with wolf woman wonder wood word work world would write wrong yard year yellow yes yesterday yet
you young your zero zoo
"""

SYLLABLES = """
a ai an ang ao e en er ba bai ban bang bao bei ben beng bi bian biao bie bin bing bo bu pa pai pan pang pao pei pen
peng pi pian piao pie pin ping po pu ma mai man mang mao mei men meng mi mian miao mie min ming mo mu fa fan fang fei
fen feng fo fou fu da dai dan dang dao de deng di dian diao die ding dong dou du duan dui dun duo ta tai tan tang tao
te teng ti tian tiao tie ting tong tou tu tuan tui tun tuo na nai nan nang nao nei nen neng ni nian niang niao nie nin
ning niu nong nu nuan nuo nü la lai lan lang lao le lei leng li lian liang liao lie lin ling liu long lou lu luan lun
luo lü ga gai gan gang gao ge gei gen geng gong gou gu gua guai guan guang gui gun guo ka kai kan kang kao ke ken keng
kong kou ku kua kuai kuan kuang kui kun kuo ha hai han hang hao he hei hen heng hong hou hu hua huai huan huang hui
hun huo ji jia jian jiang jiao jie jin jing jiong jiu ju juan jue jun qi qia qian qiang qiao qie qin qing qiong qiu qu
quan que qun xi xia xian xiang xiao xie xin xing xiong xiu xu xuan xue xun zha zhai zhan zhang zhao zhe zhen zheng zhi
zhong zhou zhu zhua zhuan zhuang zhui zhun zhuo cha chai chan chang chao che chen cheng chi chong chou chu chuan
chuang chui chun sha shai shan shang shao she shei shen sheng shi shou shu shua shuai shuang shui shun shuo ran rang
rao re ren reng ri rong rou ru ruan rui run ruo za zai zan zang zao ze zen zeng zi zong zou zu zuan zui zun zuo ca cai
can cang cao ce cen ceng ci cong cou cu cuan cui cun cuo sa sai san sang sao se sen seng si song sou su suan sui sun
suo ya yan yang yao ye yi yin ying yong you yu yuan yue yun wa wai wan wang wei wen weng wo wu
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


def mandarin_syllables(rng: np.random.Generator, _: Split) -> str:
    """Seven to fifteen syllables of any tone, in words of one to three."""
    count = int(rng.integers(7, 16))
    spoken = rng.choice(SYLLABLES.split(), count), rng.integers(1, 5, count), rng.choice(("", "", " ", ", "), count)
    return "".join(f"{syllable}{tone}{gap}" for syllable, tone, gap in zip(*spoken, strict=True)).strip(", ") + "."


def english_words(rng: np.random.Generator, split: Split) -> str:
    """Four to nine words, some with a pause between them."""
    count = int(rng.integers(4, 10))
    known = [word for word in ENGLISH_WORDS.split() if _is_held_out(word) == (split == "validation")]
    spoken = rng.choice(known, count), rng.choice((" ", " ", " ", ", "), count)
    return "".join(f"{word}{gap}" for word, gap in zip(*spoken, strict=True)).strip(", ") + "."
