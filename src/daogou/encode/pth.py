"""Reads the tensors of one legacy PyTorch file without PyTorch and without running anything it says.

Pickle is a program. This one is read by an unpickler that knows five names, which build placeholders, and refuses every other; the file itself must have
the sha256 that is asked for. It is the only unpickler in daogou.
"""

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from daogou.errors import DataError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "IntStorage": "<i4", "LongStorage": "<i8"}


class Tensor(NamedTuple):
    """A view of a storage that comes later in the file."""

    storage: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    "Numbers from one element to the next, by axis: weights that were turned around lie as they did before."


def read(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Tensors by name.

    Raises:
        DataError: the file is another one, or holds anything but tensors.
    """
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError("these are other weights than the ones this encoder was made for", fix="reinstall the package of the weights", where=str(path))
    return parse(data)


def parse(data: bytes) -> dict[str, NDArray[Any]]:
    """See `read`; the layout is magic, protocol, system, tensors, keys, then each storage as an int64 count and its numbers."""
    file = io.BytesIO(data)
    try:
        if (_load(file), _load(file)) != (MAGIC, PROTOCOL):
            raise DataError("no legacy PyTorch file")
        _load(file)
        named, keys = _load(file), _load(file)
        dtypes = {t.storage: t.dtype for t in named.values()}
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            dtype = np.dtype(dtypes[key])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        return {name: _cut(storages[t.storage], t) for name, t in named.items()}
    except DataError:
        raise
    except Exception as e:
        raise DataError(f"not a file of tensors ({type(e).__name__}: {e})", fix="reinstall the package of the weights") from e


def _cut(storage: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """The tensor in order; every element must lie within the storage."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.stride)) < 0 or last >= len(storage):
        raise DataError("a tensor reaches beyond its numbers", fix="reinstall the package of the weights")
    steps = tuple(step * storage.itemsize for step in tensor.stride)
    return np.array(as_strided(storage[tensor.offset :], tensor.shape, steps, writeable=False))


def _tensor(storage: tuple[str, str], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return Tensor(*storage, offset, shape, stride)


class _Names(pickle.Unpickler):
    """Knows the names that a file of tensors needs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in TYPES.values():
            raise pickle.UnpicklingError("not a storage")
        return str(key), dtype


def _load(file: io.BytesIO) -> Any:
    return _Names(file).load()
