"""Own pictures for items that have none: a drawing chosen by the words of the category, or a cover made from the title.

The drawings and the words they stand for are data (``art/goods.toml``, ``art/palettes.toml``). A picture's address says all that is needed to
draw it, so equal pictures are one file in every cache and nothing has to be looked up.
"""

import re
import tomllib
from functools import cache, lru_cache
from hashlib import blake2b
from html import escape
from importlib import resources

from msgspec import Struct, convert

from daogou.data.rows import Item
from daogou.serve.web.fields import text_of

SIDE = 160
"Side of a picture in its own units."
LAYOUTS = 4


class Palette(Struct, frozen=True, forbid_unknown_fields=True):
    """Colours of one picture; palettes.toml says what each is for."""

    paper: str
    glow: str
    main: str
    dark: str
    light: str
    pop: str


class Drawing(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing drawn on a field of 120 × 120, and the words of the categories it stands for."""

    words: tuple[str, ...]
    colours: tuple[str, ...]
    draw: str
    weak: bool = False


def _table(name: str) -> dict[str, object]:
    return tomllib.loads((resources.files(__package__) / "art" / name).read_text("utf-8"))


@cache
def palettes() -> dict[str, Palette]:
    """Every palette by name."""
    return convert(_table("palettes.toml"), dict[str, Palette])


@cache
def drawings() -> dict[str, Drawing]:
    """Every drawing by name."""
    return convert(_table("goods.toml"), dict[str, Drawing])


def picture(item: Item) -> str:
    """File name of the picture of `item`; the same item always has the same one."""
    category, title, seed = text_of(item.category), text_of(item.title), _number(item.item_id)
    name = None if text_of(item.kind) else drawing_for(category)
    if name is None:
        return cover(title or item.item_id, item.item_id)
    colours = drawings()[name].colours
    return f"{name}.{colours[seed % len(colours)]}.{seed // 7 % LAYOUTS}.svg"


def category_picture(category: str) -> str:
    """File name of the picture that stands for a whole category."""
    name = drawing_for(category)
    return f"{name}.{drawings()[name].colours[0]}.0.svg" if name else cover(category, category)


def cover(title: str, key: str) -> str:
    """File name of an abstract picture with the initials of `title`, coloured and laid out by `key`."""
    names, seed = sorted(palettes()), _number(key)
    letters = "-".join(f"{ord(c):x}" for c in _initials(title))
    return f"cover.{names[seed % len(names)]}.{seed // 31 % 4096}.{letters}.svg"


@lru_cache(maxsize=65536)
def drawing_for(category: str) -> str | None:
    """Name of the drawing whose words fit best: every level of the path counts by its longest known word, the most general one by half."""
    levels = [" " + " ".join(re.findall(r"[^\W_]+", level.lower())) + " " for level in category.split(">")]
    weights = [0.5, *([1.0] * (len(levels) - 1))] if len(levels) > 1 else [1.0]
    scores: dict[tuple[bool, float], str] = {}
    for name, drawing in drawings().items():
        score = sum(
            weight * max((len(word) for word in drawing.words if _known(word, level)), default=0) for weight, level in zip(weights, levels, strict=True)
        )
        if score:
            scores.setdefault((not drawing.weak, score), name)
    return scores[max(scores)] if scores else None


def _known(word: str, level: str) -> bool:
    if ord(word[0]) > 0x2E80:  # no spaces between words
        return word in level
    return f" {word}" in level if len(word) > 3 else f" {word} " in level or f" {word}s " in level


@lru_cache(maxsize=1024)
def draw(file: str) -> str | None:
    """The SVG of a file name made above, None for any other name."""
    name, *rest = file.removesuffix(".svg").split(".")
    if len(rest) < 2 or rest[0] not in palettes() or not rest[1].isdecimal() or len(rest[1]) > 4:
        return None
    colours, layout = palettes()[rest[0]], int(rest[1])
    if name == "cover" and len(rest) == 3 and re.fullmatch(r"[0-9a-f]{1,6}(-[0-9a-f]{1,6})?|", rest[2]):
        points = [int(code, 16) for code in rest[2].split("-") if code]
        return _cover(colours, layout, "".join(chr(p) for p in points if p <= 0x10FFFF and chr(p).isalnum()))
    if name in drawings() and len(rest) == 2 and layout < LAYOUTS:
        return _thing(drawings()[name], colours, layout)
    return None


def _thing(drawing: Drawing, c: Palette, layout: int) -> str:
    fill = {"main": c.main, "dark": c.dark, "light": c.light, "pop": c.pop}
    body = re.sub(r"\{(main|dark|light|pop)\}", lambda match: fill[match[1]], drawing.draw)
    x, y, radius = ((80, 78, 60), (66, 84, 64), (94, 84, 64), (80, 96, 70))[layout]
    return _svg(
        f'<rect width="{SIDE}" height="{SIDE}" fill="{c.paper}"/><circle cx="{x}" cy="{y}" r="{radius}" fill="{c.glow}"/>'
        f'<ellipse cx="80" cy="131" rx="44" ry="5" fill="{c.dark}" opacity=".16"/><g transform="translate(25 27) scale(.92)">{body}</g>'
    )


def _cover(c: Palette, layout: int, letters: str) -> str:
    """Nine squares with quarter discs, discs and halves; `layout` decides which, base 8."""
    shapes, third = [], SIDE / 3
    tones = (c.light, c.glow, c.main, c.pop, c.dark)
    for cell in range(9):
        bits = _number(f"{layout}/{cell}")
        shapes.append(_tile(cell % 3 * third, cell // 3 * third, third, bits % 6, tones[bits // 8 % 5], tones[bits // 64 % 2]))
    disc = ""
    if letters:
        size = 44 if len(letters) == 1 else 34
        style = f'font-family="Figtree, system-ui, sans-serif" font-weight="700" font-size="{size}" text-anchor="middle" fill="{c.dark}"'
        disc = f'<circle cx="80" cy="80" r="38" fill="#fff"/><text x="80" y="{80 + size * 0.35:.0f}" {style}>{escape(letters)}</text>'
    return _svg(f'<rect width="{SIDE}" height="{SIDE}" fill="{c.paper}"/>{"".join(shapes)}{disc}')


def _tile(x: float, y: float, side: float, shape: int, tone: str, ground: str) -> str:
    where = f'transform="translate({x:.2f} {y:.2f})"'
    a, half = f"{side:.2f}", f"{side / 2:.2f}"
    body = (
        f'<path d="M0 0h{a}A{a} {a} 0 0 1 0 {a}Z" fill="{tone}"/>',
        f'<path d="M{a} {a}H0A{a} {a} 0 0 1 {a} 0Z" fill="{tone}"/>',
        f'<circle cx="{half}" cy="{half}" r="{half}" fill="{tone}"/>',
        f'<path d="M0 0h{a}A{half} {half} 0 0 1 0 0Z" fill="{tone}"/>',
        f'<path d="M0 {a}L{a} 0V{a}Z" fill="{tone}"/>',
        f'<path d="M{a} 0V{a}A{a} {a} 0 0 1 0 0Z" fill="{tone}"/>',
    )[shape]
    return f'<g {where}><rect width="{a}" height="{a}" fill="{ground}"/>{body}</g>'


def _svg(body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">{body}</svg>'


def _initials(title: str) -> str:
    words: list[str] = re.findall(r"[^\W_]+", title)
    if not words:
        return ""
    if words[0].isdecimal():
        return words[0][:2]
    single = len(words) == 1 or ord(words[0][0]) > 0x2E80
    return (words[0][0] if single else words[0][0] + words[-1][0]).upper()[:2]


def _number(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "replace"), digest_size=6).digest(), "big")
