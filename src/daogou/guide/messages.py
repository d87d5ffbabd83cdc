"""What the guide says of its own accord, in both languages. Names, prices and stock never stand here: they come from the records."""

WORDS: dict[str, dict[str, str]] = {
    "found": {"en": "{n} {things} match{es}. Here are the best.", "zh": "有{n}件{things}符合，为你挑了这些。"},
    "found few": {"en": "{n} {things} match{es}.", "zh": "有{n}件{things}符合。"},
    "popular": {
        "en": "Tell me what you are looking for: kind, colour, price, for whom. Here is something to begin with.",
        "zh": "告诉我你想找什么：品类、颜色、价格、送给谁。先看看这些。"},
    "near": {"en": "This comes closest to what you said.", "zh": "这些与你说的最接近。"},
    "nothing": {"en": "I found nothing for “{text}”. Here is something else from the shop.", "zh": "没有找到“{text}”，先看看店里的其他{things}。"},
    "none": {"en": "Nothing here meets all of that, and I will not show what you ruled out.", "zh": "没有完全符合的{things}，你排除的我不会推荐。"},
    "relaxed": {"en": "Nothing met everything you asked for, so I left out: {what}.", "zh": "没有完全符合的，我放宽了：{what}。"},
    "contradiction": {"en": "“{a}” and “{b}” contradict each other; I kept “{b}”.", "zh": "“{a}”和“{b}”互相矛盾，我按“{b}”来找。"},
    "currency": {
        "en": "Prices here are in {own}; I do not convert {other} and read the number as {own}.",
        "zh": "本店以{own}标价，我不换算{other}，已按{own}理解。"},
    "no prices": {"en": "The goods here carry no prices, so I could not look for “{what}”.", "zh": "这里的{things}没有标价，无法按“{what}”筛选。"},
    "lacking": {"en": "There are no {what} in this shop.", "zh": "本店没有{what}。"},
    "service": {
        "en": "I know only the goods; about delivery, payment, returns and offers please ask the shop.",
        "zh": "我只了解{things}；配送、付款、退换和优惠请咨询店家。"},
    "who": {"en": "I am the guide of this shop, a program: I find {things} by words or a photo.", "zh": "我是本店的导购程序，可以按描述或照片找{things}。"},
    "goes": {"en": "This goes with “{what}”.", "zh": "这些可以与“{what}”搭配。"},
    "goes nothing": {"en": "I found nothing that goes with “{what}”; this is like it.", "zh": "没有找到与“{what}”搭配的{things}，先看看与它相近的。"},
    "cheapest": {"en": "cheapest first", "zh": "价格从低到高"},
    "dearest": {"en": "most expensive first", "zh": "价格从高到低"},
    "no size": {"en": "I cannot look for size {what}: no {thing} here says that it has it.", "zh": "无法按尺码 {what} 筛选：没有{things}标明有这个尺码。"},
    "no such": {"en": "I have not shown you that many yet.", "zh": "我还没有给你看过那么多。"},
    "no shown": {"en": "I have shown you nothing yet to compare with.", "zh": "还没有可以比较的{things}。"},
    "long": {"en": "That was long; I read the first {what} characters.", "zh": "内容很长，我只读了前{what}个字。"},
    "no photo": {
        "en": "I cannot look at photos in this shop; tell me in words what yours shows.", "zh": "这里还看不了图片，请用文字告诉我照片里是什么。"},
    "photo later": {
        "en": "I am still looking at the photos of the goods here; ask again in a minute, or tell me in words what yours shows.",
        "zh": "我还在看店里的商品图片，请稍后再发，或者先用文字告诉我照片里是什么。"},
    "seen": {"en": "These look most like your photo.", "zh": "这些和你的照片最像。"},
    "photo": {"en": "Looks like your photo", "zh": "与你的照片相像"},
    "hello": {"en": "Hello!", "zh": "你好！"},
    "thanks": {"en": "You are welcome.", "zh": "不客气。"},
    "reset": {"en": "Let us start again.", "zh": "好的，重新开始。"},
    "which": {"en": "Which {what}?", "zh": "想要哪种{what}？"},
    "gender": {"en": "Who is it for?", "zh": "是给谁用的？"},
    "color": {"en": "Which colour do you like?", "zh": "喜欢什么颜色？"},
    "category": {"en": "What kind are you looking for?", "zh": "想找哪一类？"},
    "brand": {"en": "Is there a brand you prefer?", "zh": "有偏好的品牌吗？"},
    "season": {"en": "For which season?", "zh": "什么季节用？"},
    "occasion": {"en": "For what occasion?", "zh": "在什么场合用？"},
    "because": {"en": "Meets: {what}", "zh": "符合：{what}"},
    "close": {"en": "Close to what you said", "zh": "与你说的相近"},
    "alike": {"en": "Like “{what}”", "zh": "与“{what}”相近"},
}  # fmt: skip


def say(name: str, chinese: bool, **what: str) -> str:
    """One message, filled in. A name in braces within what is filled in stays as it is."""
    return WORDS[name]["zh" if chinese else "en"].format(**what)
