"""Everything that touches a model: load, collate, train, score, evaluate. The only torch."""
