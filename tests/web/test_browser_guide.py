"""The conversation in real Chromium: what streams in, the panel, the keyboard, photos, and a shop whose titles attack."""

import re
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}")]


def ask(page: Any, text: str) -> None:
    """Types a turn and waits until it is answered."""
    box = page.locator(".chat-text")
    box.fill(text)
    with page.expect_response(lambda response: response.url.endswith("/guide") and response.request.method == "POST"):
        box.press("Enter")
    answered(page)


def answered(page: Any) -> None:
    page.wait_for_selector("#chat:not([aria-busy])")


def chips(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(".chip").all_inner_texts()]


def test_the_panel_opens_answers_and_stays_open_on_the_next_page(visit_wardrobe) -> None:
    page = visit_wardrobe("/", reduced_motion="reduce")
    page.get_by_role("link", name="Ask the guide").click()
    panel = page.get_by_role("dialog", name="Your guide")
    panel.wait_for()
    assert page.evaluate("document.activeElement.className") == "chat-text"
    ask(page, "red t-shirts")
    assert sorted(chips(page)) == ["Red", "Tshirts"]
    titles = panel.locator(".offer-text > a").all_inner_texts()
    assert len(titles) == 6 and all("Red" in title for title in titles)
    assert "match" in panel.locator(".bubble").last.inner_text()
    assert page.locator(".offer .art.photo").count() >= 4  # photos on cards, drawings where there are none
    page.wait_for_load_state("networkidle")
    assert page.locator(".offer .art").first.evaluate("image => image.complete && image.naturalWidth > 0")
    panel.locator(".offer-text > a").nth(2).click()
    page.wait_for_url("**/item/*")
    page.get_by_role("dialog", name="Your guide").wait_for()  # wide enough: the talk goes on beside the goods
    assert "red t-shirts" in page.locator("#chat-log").inner_text() and sorted(chips(page)) == ["Red", "Tshirts"]
    page.get_by_role("button", name="Start again").click()
    playwright.expect(page.locator(".turn-of")).to_have_count(0)
    ask(page, "blue shoes")  # in the same panel, on the same page
    assert "/item/" in page.url and "Blue" in chips(page)
    page.locator(".chat-text").press("Escape")
    page.get_by_role("dialog", name="Your guide").wait_for(state="hidden")
    playwright.expect(page.locator("#guide-open")).to_be_focused()
    page.reload()
    assert page.get_by_role("dialog").count() == 0


def test_the_answer_arrives_in_pieces(visit_wardrobe) -> None:
    page = visit_wardrobe("/guide")
    ask(page, "blue shoes")
    assert page.locator(".piece").count() >= 3
    assert page.locator(".waiting").count() == 0
    text = page.locator(".bubble:not(.mine) p").last.inner_text()
    page.reload()
    assert page.locator(".bubble:not(.mine) p").last.inner_text() == text


def test_a_question_is_answered_and_a_chip_taken_off_by_keyboard(visit_wardrobe) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    ask(page, "something blue")
    option = page.locator(".asked .option").first
    label = option.evaluate("button => button.value")
    option.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".bubble.mine").last).to_contain_text(label)
    answered(page)
    assert len(chips(page)) == 2 and page.locator(".asked form").count() <= 1
    assert page.evaluate("document.activeElement.className") == "chat-text"  # the button is gone, the keyboard is not lost
    page.get_by_role("button", name="No longer “Blue”").press("Enter")
    playwright.expect(page.locator(".chip")).to_have_count(1)
    answered(page)
    assert "Blue" not in chips(page)
    page.get_by_role("button", name="Start again").click()
    playwright.expect(page.locator(".turn-of")).to_have_count(0)
    assert chips(page) == []


def test_goods_of_an_answer_go_into_the_cart(visit_wardrobe) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    ask(page, "black handbags")
    page.locator(".offer .more").first.click()
    page.locator(".offer .control.some").wait_for()
    assert page.locator("#cart-link b").inner_text() == "1"


def test_hostile_titles_and_words_do_nothing(visit_wardrobe) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    page.on("dialog", lambda dialog: pytest.fail(f"something ran: {dialog.message}"))
    ask(page, "red t-shirts for men")
    assert "onerror=alert(1)" in page.locator("#chat-log").inner_text()  # as text
    ask(page, "<img src=x onerror=alert(4)><script>alert(5)</script>")
    page.reload()
    assert page.locator("#chat img[src=x], #chat script").count() == 0


# ---- a photo -------------------------------------------------------------------------------------------------------------------
def choose(page: Any, name: str, data: bytes) -> None:
    page.locator(".chat-form input[type=file]").first.set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": data})


def test_a_photo_is_shown_made_small_and_asked_with(visit_wardrobe, large_green_bag) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    choose(page, "bag.jpg", large_green_bag)
    page.locator(".chat-photo").wait_for()
    assert "not kept" in page.locator(".chat-photo").inner_text()
    assert page.locator(".chat-photo canvas").evaluate("canvas => [...canvas.getContext('2d').getImageData(48, 48, 1, 1).data]")[1] > 100  # green
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/guide")) as sent:
        page.get_by_role("button", name="Send").click()
    answered(page)
    assert len(sent.value.post_data_buffer or b"") < len(large_green_bag) / 2
    titles = page.locator(".offer-text > a").all_inner_texts()
    assert sum("Green" in title and "Handbag" in title for title in titles) >= 3
    assert page.locator(".bubble.mine canvas").is_visible() and page.locator(".chat-photo").is_hidden()
    page.reload()
    assert "A photo" in page.locator(".bubble.mine").inner_text()


def test_a_photo_can_be_left_out_again(visit_wardrobe, green_bag) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    choose(page, "bag.jpg", green_bag)
    page.get_by_role("button", name="Leave the photo out").click()
    page.locator(".chat-photo").wait_for(state="hidden")
    ask(page, "red shoes")
    assert page.locator(".bubble.mine canvas").count() == 0 and "Red" in chips(page)


@pytest.mark.parametrize(
    ("data", "words"), [(b"just text", "JPEG, PNG or WebP"), (b"", "JPEG, PNG or WebP"), (b"x" * (10 * 2**20 + 1), "too large")], ids=["text", "empty", "large"]
)
def test_what_is_no_photo_is_refused_kindly_before_it_is_sent(visit_wardrobe, data: bytes, words: str, tmp_path: Path) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    (tmp_path / "photo.jpg").write_bytes(data)
    page.locator(".chat-form input[type=file]").first.set_input_files(tmp_path / "photo.jpg")
    playwright.expect(page.get_by_role("alert")).to_contain_text(words)
    ask(page, "red shoes")
    assert page.get_by_role("alert").count() == 0 and "Red" in chips(page)


def answering(status: int, body: str, kind: str) -> Any:
    """A server in the place of ours."""

    def answer(route: Any) -> None:
        route.fulfill(status=status, body=body, content_type=kind)

    return answer


def test_a_server_that_refuses_is_said_kindly_and_nothing_typed_is_lost(visit_wardrobe) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce", expected="Failed to load resource")
    for status, words in ((429, "Many people"), (403, "grown old"), (413, "too large"), (500, "did not arrive")):
        page.route("**/guide", answering(status, "x", "text/html"), times=1)
        page.locator(".chat-text").fill("red shoes")
        page.locator(".chat-text").press("Enter")
        playwright.expect(page.get_by_role("alert")).to_contain_text(words)
        answered(page)
        assert page.locator(".chat-text").input_value() == "red shoes"
    broken = 'event: understood\ndata: {"html": ""}\n\nevent: reply\ndata: {"text": "Here "}\n\n'
    page.route("**/guide", answering(200, broken, "text/event-stream"), times=1)
    page.locator(".chat-text").press("Enter")
    playwright.expect(page.get_by_role("alert")).to_contain_text("did not arrive")


# ---- phones, languages, no scripts ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_shows_it_without_sideways_scrolling(visit_wardrobe, locale: str) -> None:
    page = visit_wardrobe("/", width=360, locale=locale, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.locator("#guide-open").click()
    page.locator("#guide[open]").wait_for()
    ask(page, "红色的鞋" if locale == "zh-CN" else "red shoes or bags that are not for women please")
    small = """[...document.querySelectorAll('#guide a, #guide button, #guide label, #guide input')]
               .filter(it => it.checkVisibility() && !it.closest('[aria-hidden=true]'))
               .filter(it => !it.matches('.offer-text a, .tool-like input'))
               .filter(it => Math.min(it.getBoundingClientRect().width, it.getBoundingClientRect().height) < 36).map(it => it.outerHTML.slice(0, 80))"""
    assert page.evaluate(small) == []
    assert page.evaluate("[...document.querySelectorAll('#guide *')].filter(it => it.checkVisibility() && it.getBoundingClientRect().right > 361).length") == 0
    ask(page, "不要白色" if locale == "zh-CN" else "in any colour")
    top = page.locator(".chat-log").bounding_box()["y"]
    assert 0 <= page.locator(".turn-of").last.bounding_box()["y"] - top < 40  # the new answer is what one sees
    foot = page.locator(".chat-foot").bounding_box()
    assert foot["y"] + foot["height"] <= 845  # what one types into is on the screen
    assert page.locator(".camera").is_visible() and page.locator(".camera input").get_attribute("capture") == "environment"
    assert ("正在找" if locale == "zh-CN" else "Looking for") in page.locator("#chat-chips").inner_text()
    page.goto("/guide")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.goto("/")
    assert page.locator("#guide[open]").count() == 0  # on a phone the panel would hide the page


def test_without_scripts_it_is_a_form(visit_wardrobe, green_bag) -> None:
    page = visit_wardrobe("/", java_script_enabled=False)
    page.locator("#guide-open").click()
    page.wait_for_url("**/guide")
    page.locator(".chat-text").fill("red t-shirts")
    page.locator(".chat-text").press("Enter")
    page.wait_for_url("**/guide#latest")
    assert sorted(chips(page)) == ["Red", "Tshirts"]
    page.locator(".chip").first.click()
    assert len(chips(page)) == 1
    page.locator(".chat-form input[type=file]").first.set_input_files({"name": "bag.jpg", "mimeType": "image/jpeg", "buffer": green_bag})
    page.get_by_role("button", name="Send").click()
    assert "A photo" in page.locator(".bubble.mine").last.inner_text()


def test_everything_has_a_name_and_answers_are_announced(visit_wardrobe) -> None:
    page = visit_wardrobe("/guide", reduced_motion="reduce")
    ask(page, "something blue")
    nameless = page.evaluate(
        """[...document.querySelectorAll('a, button, input:not([type=hidden]), select, img:not([alt]), nav:not([aria-label])')]
           .filter(it => it.checkVisibility() && !it.closest('[aria-hidden=true]'))
           .filter(it => !(it.innerText?.trim() || it.getAttribute('aria-label') || it.labels?.length || it.title)).map(it => it.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
    assert page.locator("h1").count() == 1
    assert page.evaluate("[...document.querySelectorAll('[id]')].map(it => it.id).filter((id, n, all) => all.indexOf(id) !== n)") == []
    log = page.get_by_role("log", name="Conversation")
    assert log.locator(".bubble.mine .aside").inner_text() == "You"  # who speaks is said, not only coloured
    assert re.search("match|closest", log.inner_text())


# ---- the real catalogue ----------------------------------------------------------------------------------------------------------------
def test_the_real_fashion_shop_answers_with_photos_on_a_phone(visit_real) -> None:
    open_page, photo = visit_real
    page = open_page("/guide", width=390, locale="zh-CN", has_touch=True, is_mobile=True, reduced_motion="reduce")
    ask(page, "女士的鞋")
    assert "女士" in chips(page) and page.locator(".offer .art.photo").count() >= 4
    page.get_by_role("button", name="重新开始").click()
    playwright.expect(page.locator(".turn-of")).to_have_count(0)
    choose(page, "photo.jpg", photo)
    page.locator(".chat-photo").wait_for()
    page.locator(".chat-send").click()
    playwright.expect(page.locator(".offer .art.photo")).to_have_count(6)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
