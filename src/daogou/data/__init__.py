"""Tables, vocabularies, snapshots: everything between a file and a model."""
