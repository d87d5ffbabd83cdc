"""The pages' files: what is vendored is what its manifest says, and nothing is inline or from elsewhere."""

import json
import re
from hashlib import sha256
from importlib import resources
from pathlib import Path

import pytest

WEB = Path(str(resources.files("daogou.serve.web")))
OWN = [path for path in (*(WEB / "templates").iterdir(), *(WEB / "static").iterdir()) if path.suffix in {".html", ".css", ".js", ".svg"}]


def test_vendored_files_are_the_ones_of_the_manifest() -> None:
    folder = WEB / "static" / "vendor"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert {path.name for path in folder.iterdir()} == {*manifest, "manifest.json"}
    for name, said in manifest.items():
        assert sha256((folder / name).read_bytes()).hexdigest() == said["sha256"], name
        assert said["package"] and said["version"] and said["licence"]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]+\.[a-z]", text), "an address elsewhere"
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|js:", text), "what the policy forbids"
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), "an inline script"


def test_the_style_sheet_names_files_that_exist() -> None:
    css = (WEB / "static" / "app.css").read_text("utf-8")
    named = re.findall(r'url\("([^"]+)"\)', css)
    assert named and all((WEB / "static" / name).is_file() for name in named)


def test_icons_that_are_used_are_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([a-z]+)"', (WEB / "static" / "icons.svg").read_text("utf-8")))
    used = {name for path in OWN for name in re.findall(r'icon\("([a-z]+)"', path.read_text("utf-8"))} | {"check", "heart"}
    assert used == drawn
