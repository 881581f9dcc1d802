"""How each method trains: a trainer of TRL's behind one interface."""
