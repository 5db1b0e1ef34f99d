"""Does an answer end too early? Prompts that want long answers, with and without a sure end.

    python benchmarks/ends.py
    python benchmarks/ends.py --base BASE.gguf --nudging NUDGING.gguf --ends 0.3 0.5 0.7 --output ends.json
    python benchmarks/ends.py --setting words,threshold=0.3 --setting bet,bet=0.2,end=0.5

Every setting answers greedily without a sure end (`end=0`) and with one. An answer is *in the middle* if it ended by
itself, and the text is unfinished: a list has fewer items than the prompt asked for, a code block, a bracket or a quote
is open, or the last sentence has no final punctuation. It is *cut short* if it is also the start of the longer answer
of the same setting without a sure end. *Finished without* counts those whose longer answer is not unfinished.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Literal

from nudging import Nudger
from nudging.evaluation.intervals import share_interval
from pair import add_backend, add_pair, nudger_of
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from setting import Setting, add_settings, settings

Kind = Literal["list", "steps", "paragraphs", "poem", "dialogue", "e-mail", "code", "JSON"]


@dataclass(frozen=True)
class LongPrompt:
    """A prompt that wants a long answer.

    Args:
        kind: The form of the answer.
        text: The prompt.
        parts: Number of items, steps, paragraphs or stanzas that the prompt asks for; 0 if it names none.
    """

    kind: Kind
    text: str
    parts: int = 0


PROMPTS = (
    LongPrompt("list", "List ten fruits, one per line, with numbers.", 10),
    LongPrompt("list", "List ten countries in Europe and their capitals as a numbered list.", 10),
    LongPrompt(
        "list", "List ten things to pack for a week of camping. Number them and explain each in a sentence.", 10
    ),
    LongPrompt("list", "Give me ten ideas for a birthday party for a six-year-old, as a numbered list.", 10),
    LongPrompt("list", "Name eight inventions that changed the world, with one sentence about each, as a list.", 8),
    LongPrompt("list", "Write a numbered list of ten tips for a job interview.", 10),
    LongPrompt("steps", "Explain in eight numbered steps how to change the tyre of a bicycle.", 8),
    LongPrompt("steps", "Give step-by-step instructions in seven numbered steps for baking bread at home.", 7),
    LongPrompt(
        "steps", "How do I set up a new Git repository and push it to a server? Answer in six numbered steps.", 6
    ),
    LongPrompt("paragraphs", "Write three paragraphs about the history of the printing press.", 3),
    LongPrompt("paragraphs", "Explain in three paragraphs how a vaccine works.", 3),
    LongPrompt("paragraphs", "Write four paragraphs that compare life in a city with life in a village.", 4),
    LongPrompt("paragraphs", "Tell a short story about a lost dog in three paragraphs.", 3),
    LongPrompt("poem", "Write a poem of three stanzas about the sea.", 3),
    LongPrompt("poem", "Write a poem of three stanzas about an old clock. Each stanza has four lines.", 3),
    LongPrompt("dialogue", "Write a dialogue between a customer and a baker, with at least eight lines."),
    LongPrompt("dialogue", "Write a conversation between two friends who plan a trip to the mountains."),
    LongPrompt("e-mail", "Write an e-mail to my landlord: the heating has been broken for three days."),
    LongPrompt("e-mail", "Write a polite e-mail that asks a colleague to review my report by Friday."),
    LongPrompt("code", "Write a Python function that merges two sorted lists, with a docstring and a test."),
    LongPrompt("code", "Write a Python class for a stack with push, pop and peek, and show how to use it."),
    LongPrompt("code", "Write a Python function that counts the words in a file. Explain the code afterwards."),
    LongPrompt("JSON", "Write a JSON array of five books. Each has a title, an author and a year."),
    LongPrompt("JSON", "Write a JSON object that describes a person: name, age, address and three hobbies."),
)

_NUMBERED = re.compile(r"^\s*[*#_]*(?:\(?\d{1,2}[.):]|step \d{1,2}\b)(?=\W*\w)", re.IGNORECASE | re.MULTILINE)
_BULLET = re.compile(r"^\s*[-*•+]\s", re.MULTILINE)
_INLINE_ITEM = re.compile(r"(?<![\w.])(\d{1,2})[.)]\s+(?=\S)")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n\s*\n")
_CLOSING = re.compile(
    r"\b(?:regards|sincerely|thanks|thank you|best|wishes|yours|cheers)\b[^\n]*,\s*\n+\s*\S", re.IGNORECASE
)
_OPENING = {")": "(", "]": "[", "}": "{", "”": "“"}
_FINAL = ".!?…。)]}\"”'’`>"


@dataclass(frozen=True)
class Result:
    """The answer of one setting to one prompt.

    Args:
        setting: The label of the setting without its `end`.
        end: The probability of a sure end; 0 for none.
        kind: The kind of the prompt.
        prompt: The prompt.
        answer: The answer.
        tokens: Length of the answer, in base-model tokens.
        ended: True if the answer ended by itself.
        problem: The reason why the text is unfinished, or None.
        compared: "same" as the answer without a sure end, the "start" of it, or an "other" text.
        problem_without: The reason why the answer without a sure end is unfinished, or None.
        tokens_without: Length of that answer.
    """

    setting: str
    end: float
    kind: Kind
    prompt: str
    answer: str
    tokens: int
    ended: bool
    problem: str | None
    compared: Literal["same", "start", "other"]
    problem_without: str | None
    tokens_without: int

    @property
    def in_the_middle(self) -> bool:
        """True if the answer ended by itself with an unfinished text."""
        return self.ended and self.problem is not None

    @property
    def cut_short(self) -> bool:
        """True if the answer ended in the middle, and earlier than without a sure end."""
        return self.in_the_middle and self.compared == "start"

    @property
    def finished_without(self) -> bool:
        """True if the answer was cut short, and the one without a sure end is finished."""
        return self.cut_short and self.problem_without is None


def main() -> None:
    arguments = _arguments()
    nudger = nudger_of(arguments)
    prompts = [prompt for prompt in PROMPTS if prompt.kind in arguments.kinds][: arguments.limit]
    results: list[Result] = []
    for setting, ends in rows(settings(arguments), arguments.ends):
        for prompt in track(prompts, setting.label, transient=True):
            results += ask(nudger, setting, ends, prompt)
        if arguments.output:
            arguments.output.write_text(json.dumps(list(map(_as_dict, results)), indent=1, ensure_ascii=False))
    console = Console(width=150)
    console.print(results_table(results))
    console.print(kinds_table(results))
    console.print(f"{nudger.name}, at most {arguments.max_tokens} tokens")


def rows(given: Sequence[Setting], ends: Sequence[float]) -> Iterator[tuple[Setting, list[float]]]:
    """Yield each setting without its `end`, and all values of `end` to compare, from 0.

    Args:
        given: The settings. Several may differ in `end` alone.
        ends: The values for settings that give none themselves.
    """
    for label in dict.fromkeys(setting.without_end().label for setting in given):
        same = [setting for setting in given if setting.without_end().label == label]
        values = [[setting.options["end"] or 0.0] if "end" in setting.options else ends for setting in same]
        yield same[0].without_end(), sorted({0.0, *chain.from_iterable(values)})


def ask(nudger: Nudger, setting: Setting, ends: Sequence[float], prompt: LongPrompt) -> list[Result]:
    """Return the answers of a setting to one prompt, with each value of `end`. The first one is 0."""
    results: list[Result] = []
    without: Result | None = None
    for end in ends:
        answer = nudger.generate(prompt.text, **setting.with_end(end).options)
        text, full = answer.text.rstrip(), (without.answer if without else answer.text).rstrip()
        found = problem(prompt, text)
        result = Result(
            setting=setting.label,
            end=end,
            kind=prompt.kind,
            prompt=prompt.text,
            answer=answer.text,
            tokens=answer.usage.completion_tokens,
            ended=answer.finish_reason == "stop",
            problem=found,
            compared="same" if text == full else "start" if full.startswith(text) else "other",
            problem_without=without.problem if without else found,
            tokens_without=without.tokens if without else answer.usage.completion_tokens,
        )
        without = without or result
        results.append(result)
    return results


def problem(prompt: LongPrompt, text: str) -> str | None:
    """Return the reason why the text is unfinished, or None."""
    text = text.rstrip()
    if not text:
        return "no text"
    if (count := parts(prompt.kind, text)) < prompt.parts:
        return f"{count} of {prompt.parts} parts"
    if len(_FENCE.findall(text)) % 2:
        return "open code block"
    if opened := open_marks(text):
        return f"open {opened}"
    return None if has_final_mark(prompt, text) else "no final punctuation"


def parts(kind: Kind, text: str) -> int:
    """Return the number of items, steps, paragraphs or stanzas in a text."""
    if kind in ("list", "steps"):
        inline = 0
        for number in _INLINE_ITEM.findall(text):
            inline += int(number) == inline + 1
        return max(len(_NUMBERED.findall(text)), inline) or len(_BULLET.findall(text))
    return len(_BLANK_LINES.split(text.strip()))


def open_marks(text: str) -> str:
    """Return the brackets and quotes that a text opens and does not close. A closing one alone, as in "1)", is fine."""
    opened = Counter[str]()
    for character in text:
        if character in _OPENING.values():
            opened[character] += 1
        elif opened[opening := _OPENING.get(character, "")]:
            opened[opening] -= 1
    quotes = '"""' if text.count('"""') % 2 else '"' * (_BLANK_LINES.split(text)[-1].count('"') % 2)
    return "".join(opened.elements()) + quotes


def has_final_mark(prompt: LongPrompt, text: str) -> bool:
    """Return True if the end of a text is fit for its form.

    Code, poems and signed e-mails need no final punctuation. Items need it only if most of the others have it.
    """
    lines = [line.strip().rstrip("*_ ") for line in text.splitlines() if line.strip(" *_")]
    if not lines:
        return False
    is_final = [line[-1] in _FINAL for line in lines]
    if prompt.kind in ("list", "steps"):
        items = [
            final for final, line in zip(is_final, lines, strict=True) if _NUMBERED.match(line) or _BULLET.match(line)
        ]
        return is_final[-1] or (bool(items) and sum(items[:-1]) <= len(items[:-1]) / 2 and lines[-1][-1] not in ":,")
    if prompt.kind in ("code", "poem"):
        return lines[-1][-1] not in ":,("
    if prompt.kind == "e-mail" and _CLOSING.search("\n".join(lines[-4:])):
        return True
    return is_final[-1]


def results_table(results: Sequence[Result]) -> Table:
    """Return a table of all settings and ends, with 95% intervals."""
    columns = ("setting", "end", "ended by itself", "in the middle", "cut short", "finished without", "other text")
    table = Table(*columns, "tokens", "without", box=SIMPLE_HEAD)
    for (label, end), group in _groups(results).items():
        cells = ["", "", ""]
        if end:
            cells = [
                _share([result.cut_short for result in group]),
                str(sum(result.finished_without for result in group)),
                str(sum(result.compared == "other" for result in group)),
            ]
        table.add_row(
            label,
            f"{end:g}" if end else "none",
            _share([result.ended for result in group]),
            _share([result.in_the_middle for result in group]),
            *cells,
            f"{fmean(result.tokens for result in group):.0f}",
            f"{fmean(result.tokens_without for result in group):.0f}" if end else "",
        )
    return table


def kinds_table(results: Sequence[Result]) -> Table:
    """Return a table of the answers in the middle, or cut short with a sure end, by kind of prompt."""
    kinds = list(dict.fromkeys(result.kind for result in results))
    table = Table("setting", "end", *kinds, title="in the middle (end none) or cut short", box=SIMPLE_HEAD)
    for (label, end), group in _groups(results).items():
        cells = []
        for kind in kinds:
            mine = [result.cut_short if end else result.in_the_middle for result in group if result.kind == kind]
            cells.append(f"{sum(mine)} of {len(mine)}")
        table.add_row(label, f"{end:g}" if end else "none", *cells)
    return table


def _groups(results: Sequence[Result]) -> dict[tuple[str, float], list[Result]]:
    keys = dict.fromkeys((result.setting, result.end) for result in results)
    return {key: [result for result in results if (result.setting, result.end) == key] for key in keys}


def _share(values: Sequence[bool]) -> str:
    return "{:.0%} ({:.0%}-{:.0%})".format(*share_interval(values))


def _as_dict(result: Result) -> dict[str, object]:
    shares = {name: getattr(result, name) for name in ("in_the_middle", "cut_short", "finished_without")}
    return asdict(result) | shares


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair(parser)
    add_settings(parser, ("words", "tokens", "bet"))
    parser.add_argument(
        "--ends", nargs="+", type=float, default=[0.5], help="values of end, for settings that give none themselves"
    )
    add_backend(parser)
    kinds = list(dict.fromkeys(prompt.kind for prompt in PROMPTS))
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="kinds of prompts")
    parser.add_argument("--limit", type=int, help="maximum number of prompts")
    parser.add_argument("--max-tokens", type=int, default=400, help="maximum length of an answer")
    parser.add_argument("--output", type=Path, help="JSON file for all answers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
