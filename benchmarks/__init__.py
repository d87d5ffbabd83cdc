"""Commands behind every figure in the READMEs. A benchmark is not a test: it prints, and ends with 1 where a figure misses its floor."""
