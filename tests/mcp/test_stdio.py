"""The tools through a real client, over the standard input and output of `daogou mcp`."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from daogou.data.rows import Item
from daogou.scenario import Project
from daogou.store import Store
from daogou.testing.chat_server import CLOSE, ChatServer, Script, completion, reply


@asynccontextmanager
async def connected(project: Project) -> AsyncIterator[Client]:
    command = StdioServerParameters(command=sys.executable, args=["-m", "daogou", "mcp", "--project", str(project.directory)], env=dict(os.environ))
    async with Client(command, read_timeout_seconds=60) as client:
        yield client


def talk(project: Project, conversation: Callable[[Client], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with connected(project) as client:
            await conversation(client)

    asyncio.run(whole())


async def ask(client: Client, tool: str, **arguments: Any) -> Any:
    found = await client.call_tool(tool, arguments)
    assert not found.is_error, found.content
    return found.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    found = await client.call_tool(tool, arguments)
    assert found.is_error and found.structured_content is None
    return str(found.content[0].text)  # type: ignore[union-attr]


def running(project: Project) -> int:
    """Processes that were given this project, where Linux shows them."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return sum(str(project.directory).encode() in line for line in lines)


def test_five_tools_say_what_they_take_and_end_with_their_input(project: Project, writer: Store) -> None:
    async def conversation(client: Client) -> None:
        assert "home.for_you" in (client.instructions or "") and "price (number)" in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"search", "recommend", "similar", "explain", "guide"}
        for tool in tools.values():
            assert len(tool.description or "") > 50
            assert tool.annotations and tool.annotations.read_only_hint and not tool.annotations.destructive_hint
            assert tool.output_schema and tool.output_schema["properties"]["items"]
            assert tool.input_schema["additionalProperties"] is False
        assert tools["search"].input_schema["properties"]["k"]["maximum"] == 100
        assert tools["similar"].input_schema["required"] == ["item_id"]
        assert running(project) == 1

    talk(project, conversation)
    assert running(project) == 0


def test_each_tool_answers_from_the_catalogue(project: Project, writer: Store) -> None:
    async def conversation(client: Client) -> None:
        found = await ask(client, "search", query="item 7", k=3)
        assert found["items"][0]["item_id"] == "i7" and found["items"][0]["title"] == "Item 7" and found["items"][0]["brand"] == "b3"
        counted = await ask(client, "search", query="item", prefer=["price <= 0.01", 'brand = "b1"'], facets=True)
        assert counted["relaxed"] and counted["total"] >= len(counted["items"])
        narrowed = await ask(client, "search", query="item", filter=counted["facets"]["brand"][0]["filter"])
        assert {item["brand"] for item in narrowed["items"]} == {counted["facets"]["brand"][0]["label"]}
        cheap = await ask(client, "recommend", user_id="u1", filter="price <= 15", k=5)
        assert cheap["items"] and all(item["price"] <= 15 for item in cheap["items"]) and not cheap["degraded"]
        guest = await ask(client, "recommend", liked=["i1", "i3"], explain=True, k=5)
        assert {cause["item_id"] for item in guest["items"] for cause in item["causes"]} <= {"i1", "i3"}
        assert guest["items"][0]["causes"]
        beside = await ask(client, "similar", item_id="i2", k=4)
        assert 0 < len(beside["items"]) <= 4 and "i2" not in {item["item_id"] for item in beside["items"]}
        why = await ask(client, "explain", item_id="i5", liked=["i1"])
        assert [item["item_id"] for item in why["items"]] == ["i5"] and why["items"][0]["causes"][0]["item_id"] == "i1"
        assert (await ask(client, "explain", item_id="i5"))["items"][0]["causes"] == []
        turn = await ask(client, "guide", text="something by b1 under 30")
        assert turn["items"] and all(item["brand"] == "b1" and item["price"] < 30 for item in turn["items"])
        price = next(chip for chip in turn["understood"] if chip["filter"].startswith("price"))
        more = await ask(client, "guide", conversation_id=turn["conversation_id"], remove=[price["id"]])
        assert more["conversation_id"] == turn["conversation_id"] and more["total"] > turn["total"]

    talk(project, conversation)


def test_mistakes_are_told_in_words_that_mend_them(project: Project, writer: Store) -> None:
    async def conversation(client: Client) -> None:
        assert "no item 'i999'" in await refused(client, "similar", item_id="i999")
        assert "liked[1]" in await refused(client, "recommend", liked=["i1", "i999"])
        assert "price" in await refused(client, "search", query="item", filter="prize < 3")
        assert "home.for_you" in await refused(client, "recommend", placement="home.for_yuo")
        assert "less than or equal to 100" in await refused(client, "search", query="item", k=101)
        assert "filters" in await refused(client, "search", query="item", filters="price < 3")
        assert "at most 50 items" in await refused(client, "recommend", liked=["i1"] * 51)
        assert "text" in await refused(client, "guide")
        assert (await ask(client, "search", query="item 1"))["items"], "after mistakes it answers on"

    talk(project, conversation)


def test_it_follows_the_writer(project: Project, writer: Store, retrain: Callable[[Project, Store, float], str]) -> None:
    """A new price, an item taken out, a new item and a new release: each counts within seconds."""

    async def conversation(client: Client) -> None:
        async def until(wanted: Callable[[Any], bool], tool: str, **arguments: Any) -> None:
            deadline = time.monotonic() + 15
            while not wanted(found := await ask(client, tool, **arguments)):
                assert time.monotonic() < deadline, found
                await asyncio.sleep(0.1)

        def ids(found: Any) -> set[str]:
            return {item["item_id"] for item in found["items"]}

        dear = {"filter": "price >= 5000", "query": "item"}
        assert not ids(await ask(client, "search", **dear))
        writer.patch_item(Item(item_id="i3", price=5001.0))
        await until(lambda found: ids(found) == {"i3"}, "search", **dear)
        writer.delete_item("i3")
        await until(lambda found: not ids(found), "search", **dear)
        writer.put_items([Item(item_id="fresh", title="Samovar", price=9.0)])
        await until(lambda found: "fresh" in ids(found), "search", query="samovar")
        release = retrain(project, writer, 50.0)
        await until(lambda found: found["release"] == release, "recommend", k=1)

    talk(project, conversation)


def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "daogou.toml").write_text('scenario = "shop"\n', "utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "daogou", "mcp", "--project", str(tmp_path)], check=False, input="", capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1 and ended.stdout == "" and "there is no store" in ended.stderr


# ---- a language model beside the rules ----
READING = '{"constraints": [{"attribute": "brand", "op": "=", "value": "b1", "said": "zorple"}], "words": ""}'


def said(text: str) -> Script:
    return [(0.0, completion(json.dumps({"text": text})))]


WRONG: dict[str, Script] = {
    "an invented product": said("We have the iPhone for you."),
    "an invented price": said("{1} costs 1 CNY."),
    "a link": said("[it](http://evil.example)"),
    "wrong JSON": [(0.0, completion('{"text": '))],
    "it stalls": [(9.0, completion('{"text": "late"}'))],
    "it breaks off": [(0.0, completion('{"text": "late"}')[:-9]), (0.0, CLOSE)],
    "500": [(0.0, reply(b"{}", status="500 Oops"))],
}


def test_the_guide_speaks_with_the_projects_language_model_and_without_it_in_time(advised: Project, chat: ChatServer) -> None:
    async def conversation(client: Client) -> None:
        chat.behaviour = lambda _: said("I'd take {1}.")
        turn = await ask(client, "guide", text="b1", locale="en", k=2, user_id="u1")
        best = turn["items"][0]
        assert turn["reply"].startswith(f"I'd take “{best['title']}” ({best['price']:g})") and len(chat.asked) == 1
        assert '"u1"' not in json.dumps(chat.asked), "who asks is not told"
        for what, script in WRONG.items():
            chat.behaviour = lambda _, script=script: script  # type: ignore[misc]
            began = time.monotonic()
            turn = await ask(client, "guide", text="b1", locale="en", k=3)
            assert time.monotonic() - began < 1.5, what
            assert "products match. Here are the best." in turn["reply"], (what, turn["reply"])
            assert len(turn["items"]) == 3 and all(item["brand"] == "b1" for item in turn["items"])
        assert len(chat.asked) == 1 + len(WRONG)

    talk(advised, conversation)


def test_what_the_rules_cannot_read_is_read_by_the_language_model(advised: Project, chat: ChatServer) -> None:
    async def conversation(client: Client) -> None:
        chat.behaviour = lambda asked: [(0.0, completion(READING if "attributes" in asked["messages"][1]["content"] else '{"text": "{1}."}'))]
        turn = await ask(client, "guide", text="zorple", locale="en")
        assert [chip["filter"] for chip in turn["understood"]] == ['brand = "b1"'] and all(item["brand"] == "b1" for item in turn["items"])

    talk(advised, conversation)


def test_a_key_that_is_not_there_is_found_at_the_start(advised: Project) -> None:
    with (advised.directory / "daogou.toml").open("a", encoding="utf-8") as file:
        file.write('key_env = "NO_SUCH_KEY"\n')
    command = [sys.executable, "-m", "daogou", "mcp", "--project", str(advised.directory)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, input="", timeout=60, env={**os.environ, "NO_SUCH_KEY": ""})
    assert done.returncode == 1 and "NO_SUCH_KEY" in done.stderr and "Traceback" not in done.stderr
