"""Texts cut into tokens with their places: a Latin word or a number is one, each Chinese, Japanese or Korean sign is one.

Both languages then have one way to be matched: the longest run of tokens that something is called by.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

_CJK = r"\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:'[a-z]+)?")
T = TypeVar("T")
_POSSESSIVE = ("'s", "'")
BREAKS = frozenset(",.;!?，。；！？、\n|/()（）")
_INSTEAD = {"Cc": " ", "Cs": " ", "Co": " ", "Cn": " ", "Cf": ""}
_SAME = str.maketrans({"’": "'", "‘": "'", "＇": "'", "`": "'"})

_SIMPLIFIED = str.maketrans(
    "業東絲個為麗樂書買亞產親從們會傘傳倫蘭內軍衝涼減鳧凱別劑務動華單衛厭雙發髮葉嗎噴嘍圍圓場塊墜壺頭夾妝媽嬰寶實寬對爾屬帳帶"
    "幫庫開護換數無時條來檸樣檔欖櫚歡歐湯沒濟潤濕滿燈點煉煩愛爺瑪環電盤碼碩禮筆籠籃類緊紅純紗線織經給絕統維綠羅職聯膚腦腳節熒"
    "萊蓮營薩藍慮襯襪裝褲規訂討記試請誰謂謝貨貴費軟較達過運還這連遞郵針釘鋼鑰錢鐵銅銀鏈鍊銷鏽鋒銳錯錦鍵鍛鏡鐲長門問閒間閨陽隨"
    "霧頂項預領顏風飛飾餅馬馳魚鱷雞鴨麥黃龍歩萬與兩後裡裏麵錶臺係鬆闆機羣薦確適優體價兒種嬌幾幹準牆韓學國際離靜髒鑽鞦蘋釦關雜"
    "號尋搖購輕農隻",
    "业东丝个为丽乐书买亚产亲从们会伞传伦兰内军冲凉减凫凯别剂务动华单卫厌双发发叶吗喷喽围圆场块坠壶头夹妆妈婴宝实宽对尔属帐带"
    "帮库开护换数无时条来柠样档榄榈欢欧汤没济润湿满灯点炼烦爱爷玛环电盘码硕礼笔笼篮类紧红纯纱线织经给绝统维绿罗职联肤脑脚节荧"
    "莱莲营萨蓝虑衬袜装裤规订讨记试请谁谓谢货贵费软较达过运还这连递邮针钉钢钥钱铁铜银链链销锈锋锐错锦键锻镜镯长门问闲间闺阳随"
    "雾顶项预领颜风飞饰饼马驰鱼鳄鸡鸭麦黄龙步万与两后里里面表台系松板机群荐确适优体价儿种娇几干准墙韩学国际离静脏钻秋苹扣关杂"
    "号寻摇购轻农只",
)
"""Traditional signs of the words that we know, each with its simplified one."""


class Token(NamedTuple):
    """`key` is what is compared (folded, singular, in simplified signs); `start` and `end` are places in the cleaned text."""

    key: str
    start: int
    end: int


def clean(text: str) -> str:
    """Unicode NFKC, lower case, one kind of apostrophe, no control signs, nothing that is not seen (marks of direction, joiners), spaces single."""
    folded = unicodedata.normalize("NFKC", text).lower().translate(_SAME)
    return re.sub(r"\s+", " ", "".join(_INSTEAD.get(unicodedata.category(sign), sign) for sign in folded)).strip()


def tokens(cleaned: str) -> list[Token]:
    """The tokens of a cleaned text, in order."""
    return [Token(singular(simplified(match.group())), match.start(), match.end()) for match in _TOKEN.finditer(cleaned)]


def key(text: str) -> tuple[str, ...]:
    """What a name is found by."""
    return tuple(token.key for token in tokens(clean(text)))


def simplified(text: str) -> str:
    """Traditional Chinese signs as simplified ones, sign by sign: of the same length."""
    return text.translate(_SIMPLIFIED)


def singular(word: str) -> str:
    """An English plural or possessive as its singular; other words as they are. Both sides of a comparison pass here, so that it need only be consistent."""
    for end in _POSSESSIVE:
        word = word.removesuffix(end)
    if not word.isascii() or len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def is_cjk(text: str) -> bool:
    """Whether there is a Chinese sign in it."""
    return any("\u3400" <= sign <= "\u9fff" for sign in text)


class Names(Generic[T]):
    """Things by what they are called; finds the longest name that begins at a token."""

    def __init__(self, names: Iterable[tuple[str, T]] = ()) -> None:
        self._of: dict[tuple[str, ...], list[T]] = {}
        self._longest: dict[str, int] = {}
        "Of the names that begin with a token: most places of a text begin none, and should cost nothing."
        for name, thing in names:
            self.add(name, thing)

    def add(self, name: str, thing: T) -> None:
        parts = key(name)
        if parts:
            found = self._of.setdefault(parts, [])
            if thing not in found:
                found.append(thing)
            self._longest[parts[0]] = max(self._longest.get(parts[0], 0), len(parts))

    def exact(self, name: str) -> list[T]:
        """What has exactly this name."""
        return self._of.get(key(name), [])

    def at(self, found: list[Token], n: int) -> tuple[list[T], int]:
        """The things whose name begins at token `n`, and the number of tokens of the longest such name (0 = none)."""
        for length in range(min(self._longest.get(found[n].key, 0), len(found) - n), 0, -1):
            if things := self._of.get(tuple(token.key for token in found[n : n + length])):
                return things, length
        return [], 0
