"""The tokenizer and the chat template of a GGUF file."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nudging.models.chat_template import ChatTemplateTokenizer
from nudging.models.llamacpp.vocabulary import Vocabulary
from nudging.prompting.conversation import Message
from nudging.prompting.templates import render_chat

if TYPE_CHECKING:
    from nudging.models.llamacpp.weights import Weights


class GGUFTokenizer(ChatTemplateTokenizer):
    """The tokenizer and the chat template of a GGUF file.

    Args:
        name: The model's name, for error messages.
        load: Returns the loaded model.
    """

    def __init__(self, name: str, load: "Callable[[], Weights]") -> None:
        super().__init__(name)
        self._load = load

    def vocabulary(self) -> Vocabulary:
        """Return the tokens of the file."""
        return self._load().vocabulary

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        vocabulary = self.vocabulary()
        tokens = vocabulary.tokenize(text)
        if special_tokens and vocabulary.adds_bos and tokens[:1] != [vocabulary.bos]:
            return [vocabulary.bos, *tokens]
        return tokens

    def has_template(self) -> bool:
        return self._load().chat_template() is not None

    def apply(self, messages: Sequence[Message], template: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        weights = self._load()
        vocabulary = weights.vocabulary
        source = template or (weights.chat_template("tool_use") if tools else None) or weights.chat_template() or ""
        names = {"bos_token": vocabulary.text(vocabulary.bos), "eos_token": vocabulary.text(vocabulary.eos)}
        return render_chat(source, messages, tools, names)
