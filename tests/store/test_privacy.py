import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from daogou.data.rows import Correction, Event, Item, User
from daogou.store import Store, privacy, scan
from daogou.store.scan import occurrences

PERSON = "person-5f1d0c"


def event(user: str, item: str, time: int, **more: object) -> Event:
    return Event(user_id=user, item_id=item, event="view", time=time, **more)  # type: ignore[arg-type]


def hits(database: Path, name: str) -> int:
    """How often the bytes of a store hold a name."""
    return occurrences([database, database.with_name(database.name + "-wal")], [name.encode()])


def fill(store: Store) -> None:
    store.put_users([User(user_id=PERSON, consent=True, attributes={"mail": f"{PERSON}@example.org"}), User(user_id="other")])
    store.add_events([event(u, f"i{n % 9}", n, session_id=f"{u}/s{n}", context={"who": u}, event_id=f"{u}-{n}") for n in range(200) for u in (PERSON, "other")])
    store.put_corrections(PERSON, [Correction(attribute="brand", value="X", says="wrong", time=7)])


def test_an_export_is_everything_as_plain_data(store: Store) -> None:
    fill(store)
    export = store.export_user(PERSON)
    assert export["user"] == {"user_id": PERSON, "consent": True, "attributes": {"mail": f"{PERSON}@example.org"}}
    assert len(export["events"]) == 200
    assert export["events"][3] == {
        "user_id": PERSON, "item_id": "i3", "event": "view", "time": 3, "value": None, "session_id": f"{PERSON}/s3", "request_id": None,
        "position": None, "context": {"who": PERSON}, "event_id": f"{PERSON}-3",
    }  # fmt: skip
    assert export["corrections"] == [{"attribute": "brand", "value": "X", "says": "wrong", "time": 7}]
    assert msgspec.json.decode(msgspec.json.encode(export)) == export
    assert store.export_user("nobody") == {"user": None, "events": [], "corrections": []}


@pytest.mark.promise("S3")
def test_an_erased_person_is_in_no_byte_of_the_store(store: Store, database: Path) -> None:
    fill(store)
    assert hits(database, PERSON) > 200
    receipt = store.erase_user(PERSON)
    assert receipt.verified and receipt.events == 200 and receipt.tables == {"events": 200, "corrections": 1, "users": 1, "items": 0} and receipt.elsewhere == 0
    assert receipt.user_id_sha256 == privacy.digest(PERSON) and PERSON not in repr(receipt)
    assert hits(database, PERSON) == 0
    assert store.user(PERSON) is None and store.history(PERSON, 10) == [] and PERSON not in store.snapshot({}).users
    assert len(store.history("other", 1000)) == 200 and store.counts() == (200, 9, 1)


@pytest.mark.promise("S3")
def test_control_without_secure_delete_the_bytes_stay(store: Store, database: Path) -> None:
    fill(store)
    store._writing.maintain(lambda raw: raw.execute("PRAGMA secure_delete=OFF").fetchone()).result()
    store._writing.submit(lambda conn: privacy.delete_rows(conn, PERSON, [])).result()
    store._writing.maintain(lambda raw: raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()).result()
    assert store.user(PERSON) is None
    assert hits(database, PERSON) > 0


def leave_remains(store: Store, name: str) -> None:
    """What a page split or another program may leave behind: a deleted row whose bytes are still there."""

    def work(raw: sqlite3.Connection) -> None:
        raw.execute("PRAGMA secure_delete=OFF")
        raw.execute("INSERT INTO users (user_id) VALUES (?)", (name,))
        raw.execute("DELETE FROM users WHERE user_id = ?", (name,))
        raw.execute("PRAGMA secure_delete=ON")

    store._writing.maintain(work).result()


def test_remains_that_deleting_does_not_reach_are_found_and_removed(store: Store, database: Path) -> None:
    fill(store)
    leave_remains(store, "ghost-of-someone")
    assert hits(database, "ghost-of-someone") > 0
    receipt = store.erase_user("ghost-of-someone")
    assert receipt.verified and receipt.elsewhere == 0
    assert hits(database, "ghost-of-someone") == 0
    assert len(store.history(PERSON, 1000)) == 200


def test_the_same_for_an_id_too_short_to_be_looked_for_by_itself(store: Store, database: Path) -> None:
    def whole_pages(raw: sqlite3.Connection) -> None:
        raw.execute("PRAGMA secure_delete=OFF")
        raw.execute("BEGIN")
        raw.executemany("INSERT INTO users (user_id) VALUES (?)", [(f"{n:04}",) for n in range(3000)])
        raw.execute("COMMIT")
        raw.execute("DELETE FROM users")
        raw.execute("PRAGMA secure_delete=ON")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    store._writing.maintain(whole_pages).result()
    remains = privacy._pattern("0777", None)
    assert occurrences([database], [remains]) > 0
    assert store.erase_user("0777").verified
    assert occurrences([database], [remains]) == 0


@pytest.mark.parametrize("number", [0, 1, 2, 127, 128, 40_000, 9_000_000, 3 * 10**9, 2**47, 2**62])
@pytest.mark.parametrize("name", ["7", "ab", "1234567"])
def test_the_pattern_of_a_short_id_is_what_sqlite_writes(tmp_path: Path, name: str, number: int) -> None:
    with sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None) as raw:
        raw.execute("CREATE TABLE users (user_no INTEGER NOT NULL PRIMARY KEY, user_id TEXT NOT NULL, consent BOOLEAN, attributes JSON, UNIQUE (user_id))")
        raw.execute("INSERT INTO users VALUES (?, ?, 1, ?)", (number, name, '{"a":"' + "x" * 300 + '"}'))
    raw.close()
    assert occurrences([tmp_path / "x.sqlite3"], [privacy._pattern(name, number)]) == 2  # the row and its key
    assert occurrences([tmp_path / "x.sqlite3"], [privacy._pattern(name, number + 1 if number > 1 else 77)]) == 1  # the row alone


def test_a_short_id_takes_nothing_else_with_it(store: Store) -> None:
    store.put_items([Item(item_id="7", title="seven")])
    store.add_events([event(u, i, n) for n, (u, i) in enumerate([("7", "7"), ("77", "7"), ("7", "77"), ("17", "7")])])
    receipt = store.erase_user("7")
    assert receipt.verified and receipt.events == 2
    assert store.user("77") and store.user("17") and store.item("7") and store.item("77") and store.counts() == (2, 2, 2)


def test_others_who_speak_of_the_person_are_counted_not_erased(store: Store) -> None:
    fill(store)
    store.add_events([event("other", "x", 1000, context={"friend": PERSON})])
    receipt = store.erase_user(PERSON)
    assert receipt.verified and receipt.elsewhere == 1
    assert store.history("other", 1)[0].context == {"friend": PERSON}


def test_a_person_who_is_an_item_too(store: Store, database: Path) -> None:
    store.put_items([Item(item_id=PERSON, title="me", kind="person"), Item(item_id="group", kind="group")])
    fill(store)
    store.add_events([event("other", PERSON, 1, event_id="follow"), event(PERSON, "group", 2)])
    store.put_corrections("other", [Correction(attribute="item_id", value=PERSON, says="more", time=8)])
    before, version = store.snapshot({}), store.catalogue_version
    assert store.item(PERSON)
    receipt = store.erase_user(PERSON, items=[PERSON])
    assert receipt.verified and receipt.tables == {"events": 202, "corrections": 2, "users": 1, "items": 1} and receipt.elsewhere == 0
    assert hits(database, PERSON) == 0
    after = store.snapshot({})
    assert store.item(PERSON) is None and after.n_items == before.n_items and store.catalogue_version > version
    assert after.items.code("group") == before.items.code("group") and after.item_table["available"][0] is False


def test_someone_unknown_is_erased_as_well(store: Store) -> None:
    fill(store)
    receipt = store.erase_user("nobody-of-this-name")
    assert receipt.verified and receipt.events == 0 and store.counts().events == 400


def test_erasing_twice_and_coming_back(store: Store) -> None:
    fill(store)
    store.erase_user(PERSON)
    assert store.erase_user(PERSON).events == 0
    store.add_events([event(PERSON, "i1", 1)])  # under a number of its own
    assert len(store.history(PERSON, 10)) == 1 and len(store.history("other", 1000)) == 200


def test_while_someone_reads_an_older_moment_nothing_is_called_verified(store: Store, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(privacy, "PATIENCE_S", 0.3)
    with store._reader.connect() as conn:
        conn.exec_driver_sql("SELECT count(*) FROM events").all()
        assert not store.erase_user(PERSON).verified
        assert hits(database, PERSON) > 0
        assert store.add_events([event("other", "i", 5000)]).accepted == 1  # others go on writing meanwhile
    assert store.erase_user(PERSON).verified
    assert hits(database, PERSON) == 0


def test_erasing_waits_for_a_reader_to_finish(store: Store, database: Path) -> None:
    fill(store)
    conn = store._reader.connect()
    conn.exec_driver_sql("SELECT count(*) FROM events").all()
    threading.Timer(0.4, conn.close).start()
    receipt = store.erase_user(PERSON)
    assert receipt.verified and receipt.seconds >= 0.3 and hits(database, PERSON) == 0


def test_erasing_while_others_write_loses_nobody_elses_events(store: Store, database: Path) -> None:
    fill(store)
    futures = [store.submit_events([event("third", f"i{n}", n)]) for n in range(300)]
    receipt = store.erase_user(PERSON)
    futures += [store.submit_events([event("third", f"i{n}", 1000 + n)]) for n in range(50)]
    assert all(f.result().accepted == 1 for f in futures) and receipt.verified
    assert hits(database, PERSON) == 0 and len(store.history("third", 1000)) == 350


@pytest.mark.parametrize("size", [0, 5, 4090, 4096, 10_000])
def test_a_pattern_is_found_wherever_it_lies(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size + PERSON.encode() + b"y" * 5000 + PERSON.encode())
    assert scan.count(tmp_path / "f", re.compile(privacy._pattern(PERSON, None)), 4096) == 2
    assert occurrences([tmp_path / "f", tmp_path / "nothing"], [privacy._pattern(PERSON, None), b"zzz"]) == 2


def others_see(url: str) -> int:
    """Events that another process counts. When it closes, it tidies the log away if it believes itself alone."""
    code = f"from daogou.store import Store; s = Store.open({url!r}, read_only=True); print(s.counts().events); s.close()"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_reading_the_bytes_keeps_sqlites_locks(store: Store, url: str) -> None:
    fill(store)
    store.erase_user(PERSON)
    assert others_see(url) == 200
    store.add_events([event("other", "i", 9000)])
    assert others_see(url) == 201


def test_control_closing_another_descriptor_of_the_file_loses_them(store: Store, url: str, database: Path) -> None:
    fill(store)
    os.close(os.open(database, os.O_RDONLY))
    others_see(url)
    store.add_events([event("other", "i", 9000)])
    assert others_see(url) == 400, "the event went into a log that the other process had deleted: were it seen, the test above would prove nothing"
