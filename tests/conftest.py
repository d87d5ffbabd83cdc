"""For every test: compiled networks are kept between tests and runs, because most of the time of a tiny fit is its compilation."""

import os
from pathlib import Path

# Read by JAX when it is first imported; subprocesses of tests inherit it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled-networks"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
