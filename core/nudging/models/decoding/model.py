"""A model in this process: an engine, a tokenizer, and KV caches that its sessions share."""

from abc import abstractmethod

from nudging.answer import Author
from nudging.grammar.grammar import Grammar
from nudging.models.base import Model, Sampling, Tokenizer
from nudging.models.decoding.engine import Engine
from nudging.models.decoding.kv_cache import CachePool, KVCache
from nudging.models.decoding.session import DecodingSession


class InProcessModel(Model):
    """A model in this process, loaded at its first use and shared by all its sessions.

    Args:
        name: The model's name.
        engine: Its forward passes.
        kept_caches: Number of idle KV caches that are kept for prompts with the same start.
    """

    def __init__(self, name: str, engine: Engine, kept_caches: int) -> None:
        self.name = name
        self.engine = engine
        self.caches: CachePool[KVCache] = CachePool(engine.new_cache, kept_caches)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def load(self) -> None:
        self.engine.load()

    @property
    def context_length(self) -> int:
        return self.engine.context_length

    @property
    @abstractmethod
    def vocabulary(self) -> dict[str, int]:
        """The id of every token by its text, added tokens included."""

    def session(
        self,
        prompt: str,
        *,
        author: Author,
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
        alternatives: int = 0,
    ) -> DecodingSession:
        special_tokens = author == "base"
        tokenizer: Tokenizer = self.tokenizer
        tokens = len(tokenizer.encode(prompt, special_tokens=special_tokens))
        self.check_prompt_length(tokens, author)
        return DecodingSession(
            self.engine, tokenizer, self.caches, prompt, tokens, special_tokens, sampling, grammar, alternatives
        )
