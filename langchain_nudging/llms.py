"""A nudged model as a LangChain LLM: text in, text out."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from nudging import Answer

from langchain_nudging.identity import Identified
from langchain_nudging.metadata import answer_metadata, pieces_metadata


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

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        return _result([self.nudger.generate(prompt, stop=stop, **kwargs) for prompt in prompts], self.nudger.name)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        return _result(
            [await self.nudger.agenerate(prompt, stop=stop, **kwargs) for prompt in prompts], self.nudger.name
        )

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        with self.nudger.stream(prompt, stop=stop, **kwargs) as stream:
            for piece in stream:
                chunk = GenerationChunk(text=piece.text, generation_info=pieces_metadata([piece]))
                if run_manager:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=answer_metadata(stream.answer, self.nudger.name))

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        async with self.nudger.astream(prompt, stop=stop, **kwargs) as stream:
            async for piece in stream:
                chunk = GenerationChunk(text=piece.text, generation_info=pieces_metadata([piece]))
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=answer_metadata(stream.answer, self.nudger.name))


def _result(answers: Sequence[Answer], model_name: str) -> LLMResult:
    generations = [
        Generation(
            text=answer.text,
            generation_info=pieces_metadata(answer.pieces) | answer_metadata(answer, model_name),
        )
        for answer in answers
    ]
    usage = {
        "prompt_tokens": sum(answer.usage.prompt_tokens for answer in answers),
        "completion_tokens": sum(answer.usage.completion_tokens for answer in answers),
        "total_tokens": sum(answer.usage.total_tokens for answer in answers),
    }
    return LLMResult(
        generations=[[generation] for generation in generations],
        llm_output={"token_usage": usage, "model_name": model_name},
    )
