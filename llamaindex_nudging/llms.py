"""A nudged model as a LlamaIndex LLM.

LlamaIndex messages -> conversation -> `Nudger` -> pieces -> cumulative responses. The public methods carry LlamaIndex's
callback decorators and share the four undecorated ones at the end, so that every call is counted once.
"""

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import LLM
from nudging import Answer, Message, Piece, PromptError
from nudging.config import NudgerConfig
from nudging.prompts import Prompt

ROLES = {MessageRole.DEVELOPER: "system", MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant"}
"""The roles that LlamaIndex names otherwise than the engine."""


class NudgingLLM(NudgerConfig, LLM):
    """Answer with a base model that a small aligned model nudges.

        >>> from llamaindex_nudging import NudgingLLM
        >>> llm = NudgingLLM(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> llm.complete("Why is the sky blue?").text  # doctest: +SKIP

    Fields are the arguments of `nudging.Nudger`. The settings among them (threshold, lookahead, max_tokens,
    temperature, top_p, seed, stop) may be given per call too: `llm.complete(question, threshold=0.3)`.

    A streamed response names the author ("base" or "nudging") of its delta in `additional_kwargs["author"]`; the last
    one, and one that was not streamed, has `finish_reason`, `nudge_ratio`, `nudging_words` and `pieces` there, and the
    usage in `raw["usage"]`.
    """

    @classmethod
    def class_name(cls) -> str:
        return "NudgingLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=self.nudger.context_length,
            num_output=self.max_tokens,
            is_chat_model=True,
            model_name=self.nudger.name,
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _chat_response(self._answer(conversation(messages), kwargs))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._answer(self._question(prompt, formatted), kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return (_chat_response(response) for response in self._stream(conversation(messages), kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return self._stream(self._question(prompt, formatted), kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _chat_response(await self._aanswer(conversation(messages), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return await self._aanswer(self._question(prompt, formatted), kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return (_chat_response(response) async for response in self._astream(conversation(messages), kwargs))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        return self._astream(self._question(prompt, formatted), kwargs)

    def _question(self, prompt: str, formatted: bool) -> str:
        return prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)

    def _answer(self, prompt: Prompt, overrides: dict[str, Any]) -> CompletionResponse:
        return _complete_response(self.nudger.generate(prompt, **overrides))

    async def _aanswer(self, prompt: Prompt, overrides: dict[str, Any]) -> CompletionResponse:
        return _complete_response(await self.nudger.agenerate(prompt, **overrides))

    def _stream(self, prompt: Prompt, overrides: dict[str, Any]) -> Generator[CompletionResponse, None, None]:
        with self.nudger.stream(prompt, **overrides) as stream:
            text = ""
            for piece in stream:
                text += piece.text
                yield _partial_response(text, piece)
            yield _complete_response(stream.answer)

    async def _astream(self, prompt: Prompt, overrides: dict[str, Any]) -> AsyncGenerator[CompletionResponse, None]:
        async with self.nudger.astream(prompt, **overrides) as stream:
            text = ""
            async for piece in stream:
                text += piece.text
                yield _partial_response(text, piece)
            yield _complete_response(stream.answer)


def conversation(messages: Sequence[ChatMessage]) -> list[Message]:
    """LlamaIndex messages as the engine takes them.

    Raises:
        PromptError: A message has a role that the engine does not know, or a content that is not text.
    """
    return [
        {"role": ROLES.get(message.role, message.role.value), "content": _content(message, f"message {number}")}
        for number, message in enumerate(messages, start=1)
    ]


def _content(message: ChatMessage, where: str) -> str:
    for block in message.blocks:
        if not isinstance(block, TextBlock):
            raise PromptError(
                f"{where} has a content of type {block.block_type!r}: only text can be nudged, pass text blocks"
            )
    return message.content or ""


def _partial_response(text: str, piece: Piece) -> CompletionResponse:
    return CompletionResponse(text=text, delta=piece.text, additional_kwargs={"author": piece.author})


def _complete_response(answer: Answer) -> CompletionResponse:
    usage = answer.usage
    return CompletionResponse(
        text=answer.text,
        delta="",
        additional_kwargs={
            "finish_reason": answer.finish_reason,
            "nudge_ratio": answer.nudge_ratio,
            "nudging_words": answer.nudging_words,
            "pieces": [{"text": piece.text, "author": piece.author} for piece in answer.pieces],
        },
        raw={
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
            }
        },
    )


def _chat_response(response: CompletionResponse) -> ChatResponse:
    return ChatResponse(
        message=ChatMessage(
            role=MessageRole.ASSISTANT, content=response.text, additional_kwargs=response.additional_kwargs
        ),
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
    )
