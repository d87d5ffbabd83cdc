"""One file a subject: `answers`, `intake` (events, imports), `catalogue` (items), `people` (users), `operation` (health, metrics, documents)."""
