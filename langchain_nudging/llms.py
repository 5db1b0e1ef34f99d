"""A nudged model as a LangChain LLM: text in, text out."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from nudging import Answer, Piece

from langchain_nudging.fields import NudgerFields
from langchain_nudging.metadata import answer_metadata, final_metadata, llm_output, pieces_metadata


class NudgingLLM(NudgerFields, BaseLLM):
    """A base model that a small aligned model nudges, as a text completion model.

        >>> from langchain_nudging import NudgingLLM
        >>> llm = NudgingLLM(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> llm.invoke("Why is the sky blue?")  # doctest: +SKIP

    The prompt is sent as a user message. Fields and options of a call are those of `ChatNudging`. The metadata that
    `ChatNudging` puts into `response_metadata` is in `generation_info` here.
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
        nudger, options = self._nudger_and_options(kwargs)
        return _result(nudger.generate_many(prompts, stop=stop, **options), nudger.model_names)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        nudger, options = self._nudger_and_options(kwargs)
        return _result(await nudger.agenerate_many(prompts, stop=stop, **options), nudger.model_names)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        nudger, options = self._nudger_and_options(kwargs)
        with nudger.stream(prompt, stop=stop, **options) as stream:
            for piece in stream:
                chunk = _piece_chunk(piece)
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=final_metadata(stream.answer, nudger.model_names))

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        nudger, options = self._nudger_and_options(kwargs)
        async with nudger.astream(prompt, stop=stop, **options) as stream:
            async for piece in stream:
                chunk = _piece_chunk(piece)
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=final_metadata(stream.answer, nudger.model_names))


def _piece_chunk(piece: Piece) -> GenerationChunk:
    return GenerationChunk(text=piece.text, generation_info=pieces_metadata([piece]))


def _result(answers: Sequence[Answer], model_names: tuple[str, str]) -> LLMResult:
    return LLMResult(
        generations=[
            [Generation(text=answer.text, generation_info=answer_metadata(answer, model_names))] for answer in answers
        ],
        llm_output=llm_output(answers, model_names),
    )
