"""A nudged model as a LangChain LLM: text in, text out."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from nudging import Answer

from langchain_nudging.identity import Identified
from langchain_nudging.metadata import answer_metadata, pieces_metadata, token_usage


class NudgingLLM(Identified, BaseLLM):
    """Answer a text with a base model that a small aligned model nudges.

        >>> from langchain_nudging import NudgingLLM
        >>> llm = NudgingLLM(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> llm.invoke("Why is the sky blue?")  # doctest: +SKIP

    The prompt is the user's turn of a conversation. Fields, and settings per call, are those of `ChatNudging`; what a
    chunk or a message has there in `response_metadata`, it has here in `generation_info`.
    """

    @property
    def _llm_type(self) -> str:
        return "nudging"

    def get_token_ids(self, text: str) -> list[int]:
        """The base model's tokens of a text, without special ones."""
        return self.nudger.base_model.tokenizer.encode(text, special_tokens=False)

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        nudger = self._nudger_for(kwargs)
        return _result(nudger.generate_many(prompts, stop=stop, **kwargs), nudger.model_names)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        nudger = self._nudger_for(kwargs)
        return _result(await nudger.agenerate_many(prompts, stop=stop, **kwargs), nudger.model_names)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        nudger = self._nudger_for(kwargs)
        with nudger.stream(prompt, stop=stop, **kwargs) as stream:
            for piece in stream:
                chunk = GenerationChunk(text=piece.text, generation_info=pieces_metadata([piece]))
                if run_manager:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=answer_metadata(stream.answer, nudger.model_names))

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        nudger = self._nudger_for(kwargs)
        async with nudger.astream(prompt, stop=stop, **kwargs) as stream:
            async for piece in stream:
                chunk = GenerationChunk(text=piece.text, generation_info=pieces_metadata([piece]))
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=answer_metadata(stream.answer, nudger.model_names))


def _result(answers: Sequence[Answer], model_names: tuple[str, str]) -> LLMResult:
    generations = [
        Generation(
            text=answer.text,
            generation_info=pieces_metadata(answer.pieces) | answer_metadata(answer, model_names),
        )
        for answer in answers
    ]
    return LLMResult(
        generations=[[generation] for generation in generations],
        llm_output={"token_usage": token_usage(answers), "model_name": " + ".join(model_names)},
    )
