"""Other people's recommenders on our split and under our evaluator, each in a virtual environment of its own."""
