"""Workers that decode: what they may not do, what happens when one is lost, and that photos come back as they are."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the extra `vision` is not installed")

from PIL import Image

from daogou.encode import apart, darkroom
from daogou.encode.apart import Darkroom
from daogou.errors import UsageError


def jpeg(color: str = "red", size: tuple[int, int] = (60, 80)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "JPEG")
    return out.getvalue()


def png(size: tuple[int, int], mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def room() -> Iterator[Darkroom]:
    with Darkroom(1) as one:
        yield one


def pid(room: Darkroom) -> int:
    """Of the worker that waits."""
    worker = room._idle.get()
    room._idle.put(worker)
    assert worker is not None
    return worker._process.pid


def test_what_comes_back_is_what_is_decoded_here(room: Darkroom) -> None:
    for data in (jpeg(), png((30, 40), "RGBA")):
        assert np.array_equal(np.asarray(room.developed(data, 64)), np.asarray(darkroom.developed(data, 64)))


def test_one_worker_reads_many(room: Darkroom) -> None:
    room.developed(jpeg(), 64)
    first = pid(room)
    with pytest.raises(UsageError, match="damaged"):
        room.developed(jpeg()[:300], 64)
    assert room.developed(jpeg("blue"), 64).getpixel((5, 5)) == (0, 0, 254) and pid(room) == first


def test_a_worker_that_dies_costs_one_photo(room: Darkroom) -> None:
    room.developed(jpeg(), 64)
    os.kill(pid(room), signal.SIGSTOP)
    room._limits = (*room._limits[:2], 0.2)
    worker = room._idle.get()
    assert worker is not None
    worker._wall_s = 0.2
    room._idle.put(worker)
    with pytest.raises(UsageError, match="could not be decoded within the limits") as found:
        room.developed(jpeg(), 64)
    assert found.value.field == "image" and found.value.fix
    room._limits = (*room._limits[:2], 15.0)
    assert room.developed(jpeg(), 64).size == (60, 80)


def test_too_much_memory_costs_one_photo() -> None:
    with Darkroom(1, memory_mib=100) as room:
        assert room.developed(jpeg(), 64).size == (60, 80)
        with pytest.raises(UsageError, match="within the limits"):
            room.developed(png((5000, 4500), "RGBA"), 64)
        assert room.developed(jpeg(), 64).size == (60, 80)


def test_a_dozen_at_once_take_turns() -> None:
    with Darkroom(2) as room:
        out: list[object] = []
        colors = ["red", "lime", "blue"] * 4
        threads = [threading.Thread(target=lambda c=c: out.append((c, room.developed(jpeg(c), 64).getpixel((9, 9))))) for c in colors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    near = {"red": (254, 0, 0), "lime": (0, 255, 1), "blue": (0, 0, 254)}
    assert len(out) == 12 and all(seen == near[color] for color, seen in out)  # type: ignore[misc]


CONFINED = """
import sys
sys.path.insert(0, {where!r})
import darkroom, os, socket
darkroom._warm()
{confine}
done = []
for name, attempt in (
    ("read", lambda: open("/etc/hostname").read()),
    ("write", lambda: open({file!r}, "w").write("x")),
    ("connect", lambda: socket.socket()),
    ("memory", lambda: bytearray(600 * 2**20)),
    ("child", lambda: os.posix_spawn("/bin/true", ["true"], {{}})),
):
    try:
        attempt()
        done.append(name)
    except (OSError, MemoryError):
        pass
print(*done)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize("confined", [True, False])
def test_a_worker_can_read_write_connect_and_fork_nothing(confined: bool, tmp_path: Path) -> None:
    where = str(Path(darkroom.__file__).parent)
    program = CONFINED.format(where=where, confine=f"darkroom._confine({apart.MEMORY_MIB})" if confined else "", file=str(tmp_path / "x"))
    said = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    mine = {"child"} if os.getuid() == 0 else set()  # the limit of processes does not bind the superuser
    assert set(said) - mine == (set() if confined else {"read", "write", "connect", "memory", "child"} - mine)


def test_a_photo_that_costs_too_much_time_is_given_up() -> None:
    """Control: with seconds enough it is read."""
    large = png((5600, 4200), "RGBA")
    with Darkroom(1, wall_s=0.25) as hurried, pytest.raises(UsageError, match="within the limits"):
        hurried.developed(large, 64)
    with Darkroom(1) as patient:
        assert patient.developed(large, 256).size == (350, 263)


def test_workers_end_with_the_room() -> None:
    room = Darkroom(1)
    room.developed(jpeg(), 64)
    mine = pid(room)
    room.close()
    with pytest.raises(ProcessLookupError):
        os.kill(mine, 0)
