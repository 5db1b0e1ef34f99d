"""Grammars that constrain an answer: JSON schemas, regular expressions, forced tool calls."""
