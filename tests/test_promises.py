"""A promise without a test is not printed; a tested one is listed; what the READMEs name is on the list."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| ([A-Z]\d+) \|.*\| (`[^|]+`) \|$", re.MULTILINE)


def listed() -> dict[str, set[str]]:
    """Id → test files, of docs/promises.md."""
    return {name: set(re.findall(r"`([^`]+)`", tests)) for name, tests in ROW.findall((ROOT / "docs" / "promises.md").read_text("utf-8"))}


def marked() -> dict[str, set[str]]:
    """Id → test files that carry its mark."""
    out: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r'@pytest\.mark\.promise\("([^"]+)"\)', path.read_text("utf-8")):
            out.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return out


def test_the_list_and_the_marks_agree() -> None:
    assert set(listed()) == set(marked())


def test_each_listed_file_carries_the_mark() -> None:
    marks = marked()
    for name, files in listed().items():
        assert files <= marks[name], f"{name}: {files - marks[name]} has no test marked with it"


def test_readmes_name_only_what_is_listed() -> None:
    for readme in ("README.md", "README.zh-CN.md"):
        named = set(re.findall(r"[(（]([DMAISCX]\d+)[)）]", (ROOT / readme).read_text("utf-8")))
        assert named
        assert named <= set(listed())
