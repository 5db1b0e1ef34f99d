"""A nudged model as a LangChain LLM: text in, text out."""

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from nudging import Answer, Piece
from nudging._threads import in_thread

from langchain_nudging.errors import langchain_errors
from langchain_nudging.fields import NudgerFields
from langchain_nudging.metadata import (
    AuthoredGenerationChunk,
    answer_metadata,
    final_metadata,
    llm_output,
    pieces_metadata,
)


class NudgingLLM(NudgerFields, BaseLLM):
    """A base model that a small aligned model nudges, as a text completion model.

        >>> from langchain_nudging import NudgingLLM
        >>> llm = NudgingLLM(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> llm.invoke("Why is the sky blue?")

    The prompt is sent as a user message. Fields and options of a call are those of `ChatNudging`. The metadata that
    `ChatNudging` puts into `response_metadata` is in `generation_info` here.

    Attributes:
        end (float): The probability of a sure end, in [0, 1]. Default 0.5, unlike in `Nudger`.
        streaming (bool): True reports each token to callbacks in `invoke` too. Default False.
    """

    @property
    def _llm_type(self) -> str:
        return "nudging"

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        with langchain_errors():
            nudger, options, _ = self._prepared(kwargs)
            if self.streaming and run_manager:
                answers = []
                for prompt in prompts:
                    with nudger.stream(prompt, stop=stop, **options) as stream:
                        for piece in stream:
                            run_manager.on_llm_new_token(piece.text, chunk=_piece_chunk(piece))
                        answers.append(stream.answer)
                return _result(answers, nudger.model_names)
            return _result(nudger.generate_many(prompts, stop=stop, **options), nudger.model_names)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        with langchain_errors():
            nudger, options, _ = await in_thread(self._prepared, kwargs)
            if self.streaming and run_manager:
                answers = []
                for prompt in prompts:
                    opened = await in_thread(partial(nudger.astream, prompt, stop=stop, **options))
                    async with opened as stream:
                        async for piece in stream:
                            await run_manager.on_llm_new_token(piece.text, chunk=_piece_chunk(piece))
                        answers.append(stream.answer)
                return _result(answers, nudger.model_names)
            return _result(await nudger.agenerate_many(prompts, stop=stop, **options), nudger.model_names)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        with langchain_errors():
            nudger, options, _ = self._prepared(kwargs)
            with nudger.stream(prompt, stop=stop, **options) as stream:
                for piece in stream:
                    chunk = _piece_chunk(piece)
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                yield _final_chunk(stream.answer, nudger.model_names)

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        with langchain_errors():
            nudger, options, _ = await in_thread(self._prepared, kwargs)
            # in a thread: a grammar is compiled, and llguidance imported for the first one
            opened = await in_thread(partial(nudger.astream, prompt, stop=stop, **options))
            async with opened as stream:
                async for piece in stream:
                    chunk = _piece_chunk(piece)
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                yield _final_chunk(stream.answer, nudger.model_names)


def _piece_chunk(piece: Piece) -> GenerationChunk:
    return AuthoredGenerationChunk(text=piece.text, generation_info=pieces_metadata([piece]))


def _final_chunk(answer: Answer, model_names: tuple[str, str]) -> GenerationChunk:
    return AuthoredGenerationChunk(text="", generation_info=final_metadata(answer, model_names))


def _result(answers: Sequence[Answer], model_names: tuple[str, str]) -> LLMResult:
    return LLMResult(
        generations=[
            [Generation(text=answer.text, generation_info=answer_metadata(answer, model_names))] for answer in answers
        ],
        llm_output=llm_output(answers, model_names),
    )
