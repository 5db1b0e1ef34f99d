"""A nudged model as a LangChain chat model.

LangChain messages -> conversation -> `Nudger` -> pieces -> message chunks.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from nudging import Answer, Message, Piece, PromptError

from langchain_nudging.identity import Identified
from langchain_nudging.metadata import answer_metadata, pieces_metadata

ROLES = {"system": "system", "human": "user", "ai": "assistant"}
"""The roles of LangChain's message types."""


class ChatNudging(Identified, BaseChatModel):
    """Chat with a base model that a small aligned model nudges.

        >>> from langchain_nudging import ChatNudging
        >>> chat = ChatNudging(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> chat.invoke("Why is the sky blue?").content  # doctest: +SKIP

    Fields are the arguments of `nudging.Nudger`. The settings among them (threshold, lookahead, max_tokens,
    temperature, top_p, seed, stop) may be given per call too: `chat.invoke(question, threshold=0.3)`.

    Every chunk names its author ("base" or "nudging") in `response_metadata["author"]`. The message has all pieces with
    their authors in `response_metadata["pieces"]`, beside `finish_reason`, `nudge_ratio` and `nudging_words`.
    """

    @property
    def _llm_type(self) -> str:
        return "chat-nudging"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self.nudger.generate(conversation(messages), stop=stop, **kwargs), self.nudger.name)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await self.nudger.agenerate(conversation(messages), stop=stop, **kwargs), self.nudger.name)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with self.nudger.stream(conversation(messages), stop=stop, **kwargs) as stream:
            for piece in stream:
                chunk = _chunk(piece)
                if run_manager:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
            yield _last_chunk(stream.answer, self.nudger.name)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with self.nudger.astream(conversation(messages), stop=stop, **kwargs) as stream:
            async for piece in stream:
                chunk = _chunk(piece)
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
            yield _last_chunk(stream.answer, self.nudger.name)


def conversation(messages: Sequence[BaseMessage]) -> list[Message]:
    """LangChain messages as the engine takes them.

    Raises:
        PromptError: A message is not one of system, human or AI, or has a content that is not text.
    """
    return [
        {"role": _role(message), "content": _content(message, f"message {number}")}
        for number, message in enumerate(messages, start=1)
    ]


def _role(message: BaseMessage) -> str:
    # a ChatMessage says its role itself; the engine knows which roles there are
    return getattr(message, "role", None) or ROLES.get(message.type, message.type)


def _content(message: BaseMessage, where: str) -> str:
    if getattr(message, "tool_calls", None):
        raise PromptError(f"{where} calls tools, which a nudged model cannot do yet: leave it out")
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        kind = "text" if isinstance(block, str) else block.get("type")
        if kind != "text":
            raise PromptError(f"{where} has a content of type {kind!r}: only text can be nudged, pass text blocks")
    return "".join(block if isinstance(block, str) else block["text"] for block in blocks)


def _chunk(piece: Piece) -> ChatGenerationChunk:
    message = AIMessageChunk(content=piece.text, response_metadata=pieces_metadata([piece]))
    return ChatGenerationChunk(message=message)


def _last_chunk(answer: Answer, model_name: str) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content="",
        response_metadata=answer_metadata(answer, model_name),
        usage_metadata=_usage(answer),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def _result(answer: Answer, model_name: str) -> ChatResult:
    metadata = pieces_metadata(answer.pieces) | answer_metadata(answer, model_name)
    message = AIMessage(content=answer.text, response_metadata=metadata, usage_metadata=_usage(answer))
    return ChatResult(generations=[ChatGeneration(message=message)])


def _usage(answer: Answer) -> UsageMetadata:
    usage = answer.usage
    return UsageMetadata(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
    )
