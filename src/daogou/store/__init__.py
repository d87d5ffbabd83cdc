"""Where a shop's events, items, users and keys live. See `Store`."""

from daogou.store.privacy import Receipt
from daogou.store.store import Counts, Key, Store

__all__ = ["Counts", "Key", "Receipt", "Store"]
