"""Does a nudged model answer from retrieved passages? Questions of RGB, through a LlamaIndex query engine.

    python benchmarks/rag.py rag.jsonl
    python benchmarks/rag.py rag.jsonl --base MODEL --nudging MODEL --setting words --setting bet,end=0.5

Each line of the file has a question, its answer, and passages with the answer (`positive`) and without it (`negative`).
The base model alone, the nudging model alone and the pair with each setting answer each question twice: from two
relevant passages, and from two relevant and two irrelevant passages. Their order is random, with the number of the
question as the seed. The score is the share of answers that are right and ended by themselves.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from llama_index.core import QueryBundle, get_response_synthesizer
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index_instrumentation import get_dispatcher
from nudging.answer import Author
from nudging.evaluation.intervals import mean_interval, share_interval
from nudging.evaluation.plots import COLOURS, INK, error_bars, figure, save
from nudging.evaluation.single_model import generate_alone
from nudging.prompting.conversation import Prompt
from pair import PACKAGES, add_pair, pair
from rich.console import Console
from rich.progress import track
from rich.table import Table
from setting import add_settings, settings

from llamaindex_nudging import NudgingLLM

CONTEXTS = {"2 relevant": (2, 0), "2 relevant, 2 irrelevant": (2, 2)}
"""Number of (relevant, irrelevant) passages in each context."""

ALONE: dict[str, Author] = {"base alone": "base", "nudging alone": "nudging"}
"""The models that answer alone."""


@dataclass(frozen=True)
class Result:
    """The answer of one system to one question.

    Args:
        context: One of `CONTEXTS`.
        system: One of `ALONE`, or a setting of the pair.
        question: The question.
        answer: The answer.
        correct: True if the answer contains the expected one.
        tokens: Length of the answer, in tokens.
        ended: True if the answer ended by itself.
        nudge_ratio: Share of tokens that the nudging model wrote. None if one model answered alone.
    """

    context: str
    system: str
    question: str
    answer: str
    correct: bool
    tokens: int
    ended: bool
    nudge_ratio: float | None

    @property
    def scores(self) -> bool:
        """True if the answer is right and ended by itself: an answer that never ends is of no use."""
        return self.correct and self.ended


class FixedRetriever(BaseRetriever):
    """A retriever that always returns the same passages."""

    def __init__(self, passages: Sequence[str]) -> None:
        super().__init__()
        self._passages = passages

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=passage)) for passage in self._passages]


class SingleModelLLM(NudgingLLM):
    """One model of the pair without the other, with the prompt that it has in the pair."""

    author: Author

    def _generate(self, prompt: Prompt, options: Mapping[str, Any]) -> ChatResponse:
        answer = generate_alone(self.nudger, self.author, prompt)
        metadata = {"finish_reason": answer.finish_reason}
        message = ChatMessage(role=MessageRole.ASSISTANT, content=answer.text, additional_kwargs=metadata)
        return ChatResponse(message=message, additional_kwargs=metadata)


class MetadataRecorder(BaseEventHandler):
    """Records the metadata of the model's answers, which a query engine drops."""

    metadata: list[dict[str, Any]] = []  # noqa: RUF012 (pydantic copies it)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if isinstance(event, LLMChatEndEvent) and event.response:
            self.metadata.append(event.response.additional_kwargs)


def main() -> None:
    arguments = _arguments()
    questions = [json.loads(line) for line in arguments.questions.read_text().splitlines()][: arguments.limit]
    systems = _systems(arguments)
    recorder = MetadataRecorder()
    get_dispatcher().add_event_handler(recorder)
    results = [
        query(question, passages_of(question, number, context), context, system, llm, recorder)
        for number, question in enumerate(track(questions, "questions"))
        for context in CONTEXTS
        for system, llm in systems.items()
    ]
    Console().print(results_table(results))
    if arguments.output:
        arguments.output.write_text(json.dumps([asdict(result) for result in results], indent=1, ensure_ascii=False))
    if arguments.picture:
        draw(results, arguments.picture)


def passages_of(question: Mapping[str, Any], number: int, context: str) -> list[str]:
    """Return a question's passages in a context. Their order depends only on the number of the question."""
    relevant, irrelevant = CONTEXTS[context]
    chosen = [*question["positive"][:relevant], *question["negative"][:irrelevant]]
    random.Random(number).shuffle(chosen)
    return chosen


def query(
    question: Mapping[str, Any],
    passages: Sequence[str],
    context: str,
    system: str,
    llm: NudgingLLM,
    recorder: MetadataRecorder,
) -> Result:
    """Return the answer to a question through the query engine."""
    recorder.metadata.clear()
    engine = RetrieverQueryEngine(
        retriever=FixedRetriever(passages), response_synthesizer=get_response_synthesizer(llm=llm)
    )
    answer = str(engine.query(question["question"]))
    (metadata,) = recorder.metadata
    return Result(
        context=context,
        system=system,
        question=question["question"],
        answer=answer,
        correct=contains(answer, question["answer"]),
        tokens=len(llm.nudger.base_model.tokenizer.encode(answer, special_tokens=False)),
        ended=metadata["finish_reason"] == "stop",
        nudge_ratio=metadata.get("nudge_ratio"),
    )


def contains(answer: str, expected: str | list[list[str]]) -> bool:
    """Return True if an answer contains the expected string, or one spelling of each expected part."""
    parts = [[expected]] if isinstance(expected, str) else expected
    return all(any(spelling.lower() in answer.lower() for spelling in spellings) for spellings in parts)


def results_table(results: Sequence[Result]) -> Table:
    """Return a table of all systems in all contexts, with 95% intervals."""
    table = Table("context", "system", "right", "ended by itself", "right and ended", "tokens", "nudged")
    for (context, system), group in _groups(results).items():
        ratios = [result.nudge_ratio for result in group if result.nudge_ratio is not None]
        table.add_row(
            context,
            system,
            _share([result.correct for result in group]),
            _share([result.ended for result in group]),
            _share([result.scores for result in group]),
            "{:.0f} ({:.0f}-{:.0f})".format(*mean_interval([result.tokens for result in group])),
            "{:.0%} ({:.0%}-{:.0%})".format(*mean_interval(ratios)) if ratios else "",
        )
    return table


def _share(outcomes: Sequence[bool]) -> str:
    return "{:.0%} ({:.0%}-{:.0%})".format(*share_interval(outcomes))


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw the share of right answers that ended, of all systems in all contexts, with 95% intervals."""
    groups = _groups(results)
    drawn, (axes,) = figure(7, 1 + len(groups) / 3)
    intervals = [share_interval([result.scores for result in group]) for group in groups.values()]
    rows = [-row for row in range(len(groups))]
    colours = [COLOURS[ALONE.get(system, "nudged")] for _, system in groups]
    axes.barh(rows, [share for share, _, _ in intervals], color=colours, xerr=error_bars(intervals), ecolor=INK)
    axes.set_yticks(rows, [f"{system}, {context}" for context, system in groups])
    axes.set_xlabel("share right and ended, with 95% intervals")
    axes.set_xlim(0, 1)
    save(drawn, path)


def _groups(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return the results by (context, system), in the order of both, without empty groups."""
    groups = {
        (context, system): [result for result in results if (result.context, result.system) == (context, system)]
        for context in CONTEXTS
        for system in dict.fromkeys(result.system for result in results)
    }
    return {place: group for place, group in groups.items() if group}


def _systems(arguments: argparse.Namespace) -> dict[str, NudgingLLM]:
    base, nudging = pair(arguments, arguments.backend)
    fields: dict[str, Any] = {
        "base_model": base,
        "nudging_model": nudging,
        "max_tokens": arguments.max_tokens,
        "dtype": arguments.dtype,
        "base_template": arguments.template,
    }

    def llm(options: Mapping[str, Any]) -> NudgingLLM:
        return NudgingLLM(**{**fields, "end": 0.0, **options})

    alone: dict[str, NudgingLLM] = {
        name: SingleModelLLM(author=author, **fields) for name, author in ALONE.items() if author in arguments.alone
    }
    return alone | {one.label: llm(cast("Mapping[str, Any]", one.options)) for one in settings(arguments)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    add_pair(parser)
    add_settings(parser, default=["words", "words,end=0.5"])
    parser.add_argument("--backend", choices=PACKAGES, help="backend of the demo pair")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--template", help="Jinja template of the base prompt")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="dtype of models that transformers runs")
    parser.add_argument("--alone", nargs="*", choices=list(ALONE.values()), default=list(ALONE.values()))
    parser.add_argument("--limit", type=int, help="maximum number of questions")
    parser.add_argument("--output", type=Path, help="file for all answers, as JSON")
    parser.add_argument("--picture", type=Path, help="file for a picture of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
