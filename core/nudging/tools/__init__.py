"""Tools that a model may call: their definitions, and the calls in an answer."""
