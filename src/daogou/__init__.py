"""daogou (导购): an AI shopping guide that a shop runs itself."""

__version__ = "0.1.0"
