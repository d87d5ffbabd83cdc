"""One model a file. Models do not import each other; they are found through entry points."""
