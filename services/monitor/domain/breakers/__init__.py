"""Circuit breakers: checks that the engine evaluates in, decisions with their reasons out."""
