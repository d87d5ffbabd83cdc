"""The HTTP surface: `app` puts it together, `routes/` has one file a subject, `run` starts it.

Knows the engine, the store and the scenario; knows no model, and imports nothing of training.
"""
