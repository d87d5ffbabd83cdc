"""What plugin authors test with: the contract suite that every recommender inherits, and data with provable answers."""
