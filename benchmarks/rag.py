"""Does a nudged model answer from its context? Questions of RGB with their passages, through a LlamaIndex query engine.

    python benchmarks/rag.py rag.jsonl
    python benchmarks/rag.py rag.jsonl --base MODEL --nudging MODEL --threshold 0.3 --output rag.json --picture rag.png

Every line of the file has a question, its answer, and passages that have it (`positive`) and that do not (`negative`).
The base model alone, the nudging model alone and the pair answer each question twice: from two relevant passages, and
from two relevant and two irrelevant ones, in an order drawn once for each question.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
from nudging.evaluation.single_model import alone
from nudging.prompting.conversation import Prompt
from pair import add_pair, pair
from rich.console import Console
from rich.progress import track
from rich.table import Table

from llamaindex_nudging import NudgingLLM

CONTEXTS = {"2 relevant": (2, 0), "2 relevant, 2 irrelevant": (2, 2)}
"""How many passages of each kind."""

COLOURS = {"base alone": "#8a8f98", "nudging alone": "#e0a84e", "nudged": "#2f7d5b"}
"""Of every system."""


@dataclass(frozen=True)
class Result:
    """How one question was answered."""

    context: str
    system: str
    question: str
    answer: str
    correct: bool
    tokens: int
    ended: bool
    nudge_ratio: float | None


class Given(BaseRetriever):
    """Retrieves what it was given."""

    def __init__(self, passages: Sequence[str]) -> None:
        super().__init__()
        self._passages = passages

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=passage)) for passage in self._passages]


class Alone(NudgingLLM):
    """One model of the pair, with the prompt that it has there."""

    author: Author

    def _answer(self, prompt: Prompt, options: Mapping[str, Any]) -> ChatResponse:
        written = alone(self.nudger, self.author, prompt)
        ending = {"finish_reason": written.finish_reason}
        message = ChatMessage(role=MessageRole.ASSISTANT, content=written.text, additional_kwargs=ending)
        return ChatResponse(message=message, additional_kwargs=ending)


class Endings(BaseEventHandler):
    """What is known of the answers that the query engine gets, and does not pass on."""

    seen: list[dict[str, Any]] = []  # noqa: RUF012 (pydantic copies it)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if isinstance(event, LLMChatEndEvent) and event.response:
            self.seen.append(event.response.additional_kwargs)


def main() -> None:
    arguments = _arguments()
    questions = [json.loads(line) for line in arguments.questions.read_text().splitlines()][: arguments.limit]
    systems = _systems(arguments)
    endings = Endings()
    get_dispatcher().add_event_handler(endings)
    results = [
        answered(question, passages(question, number, context), context, system, llm, endings)
        for number, question in enumerate(track(questions, "questions"))
        for context in CONTEXTS
        for system, llm in systems.items()
    ]
    Console().print(table(results))
    if arguments.output:
        arguments.output.write_text(json.dumps([asdict(result) for result in results], indent=1, ensure_ascii=False))
    if arguments.picture:
        draw(results, arguments.picture)


def passages(question: Mapping[str, Any], number: int, context: str) -> list[str]:
    """Those of this question that are in this context, in an order that only the question's number decides."""
    relevant, irrelevant = CONTEXTS[context]
    chosen = [*question["positive"][:relevant], *question["negative"][:irrelevant]]
    random.Random(number).shuffle(chosen)
    return chosen


def answered(
    question: Mapping[str, Any], given: Sequence[str], context: str, system: str, llm: NudgingLLM, endings: Endings
) -> Result:
    """One question, through the query engine."""
    endings.seen.clear()
    engine = RetrieverQueryEngine(retriever=Given(given), response_synthesizer=get_response_synthesizer(llm=llm))
    answer = str(engine.query(question["question"]))
    (ending,) = endings.seen
    return Result(
        context=context,
        system=system,
        question=question["question"],
        answer=answer,
        correct=has(answer, question["answer"]),
        tokens=len(llm.tokenizer(answer)),
        ended=ending["finish_reason"] == "stop",
        nudge_ratio=ending.get("nudge_ratio"),
    )


def has(answer: str, expected: str | list[list[str]]) -> bool:
    """Whether an answer contains the expected string, or of every part of the expected one of its spellings."""
    parts = [[expected]] if isinstance(expected, str) else expected
    return all(any(spelling.lower() in answer.lower() for spelling in spellings) for spellings in parts)


def table(results: Sequence[Result]) -> Table:
    """Every system in every context, with 95% intervals."""
    drawn = Table("context", "system", "correct", "tokens", "ended by itself", "nudged")
    for context, system in _cells(results):
        of = [result for result in results if (result.context, result.system) == (context, system)]
        ratios = [result.nudge_ratio for result in of if result.nudge_ratio is not None]
        drawn.add_row(
            context,
            system,
            _share([result.correct for result in of]),
            "{:.0f} ({:.0f}-{:.0f})".format(*mean_interval([result.tokens for result in of])),
            _share([result.ended for result in of]),
            "{:.0%} ({:.0%}-{:.0%})".format(*mean_interval(ratios)) if ratios else "",
        )
    return drawn


def draw(results: Sequence[Result], path: Path) -> None:
    """Share of right answers, of every system in every context, with 95% intervals."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    cells = _cells(results)
    for place, (context, system) in enumerate(cells):
        correct = [result.correct for result in results if (result.context, result.system) == (context, system)]
        share, low, high = share_interval(correct)
        axes.barh(-place, share, color=COLOURS[system], xerr=[[share - low], [high - share]], ecolor="#333333")
    axes.set_yticks([-place for place in range(len(cells))], [f"{system}, {context}" for context, system in cells])
    axes.set_xlabel("share of answers that contain the right one (bars: 95% intervals)")
    axes.set_xlim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=160)


def _cells(results: Sequence[Result]) -> list[tuple[str, str]]:
    found = {(result.context, result.system) for result in results}
    return [(context, system) for context in CONTEXTS for system in COLOURS if (context, system) in found]


def _share(of: Sequence[bool]) -> str:
    return "{:.0%} ({:.0%}-{:.0%})".format(*share_interval(of))


def _systems(arguments: argparse.Namespace) -> dict[str, NudgingLLM]:
    base, nudging = pair(arguments)
    fields: dict[str, Any] = {
        "base_model": base,
        "nudging_model": nudging,
        "threshold": arguments.threshold,
        "max_tokens": arguments.max_tokens,
        "dtype": arguments.dtype,
        "base_template": arguments.template,
    }
    systems = {
        "base alone": Alone(author="base", **fields),
        "nudging alone": Alone(author="nudging", **fields),
        "nudged": NudgingLLM(**fields),
    }
    return {name: llm for name, llm in systems.items() if name in arguments.systems}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    add_pair(parser)
    parser.add_argument("--threshold", type=float, default=0.4)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--template", help="Jinja, for the base prompt")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--systems", nargs="+", choices=COLOURS, default=list(COLOURS))
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--output", type=Path, help="every answer, as JSON")
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
