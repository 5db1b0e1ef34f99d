"""Decoding with a model in this process: sessions, KV caches, drafts, grammars. Both engines use it."""
