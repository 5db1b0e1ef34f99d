"""A conversation as the prompts of both models."""
