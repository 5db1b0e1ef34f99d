"""All answers to read: an HTML page per task, with the authors in colour."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

from nudging.display import as_html
from nudging.evaluation.answer_log import AnswerRecord
from nudging.evaluation.results import RunConfig, ScoredAnswer

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em;
  overflow-wrap: anywhere }}
article {{ border-top: 1px solid #ccc; padding: 1em 0 }}
.question {{ white-space: pre-wrap; font-weight: 600 }}
.expected {{ opacity: 0.7 }}
section {{ margin: 1em 0 0 1em }}
h3 {{ font-size: 1em; margin: 0 }}
.right {{ color: #2f7d5b }}
.wrong {{ color: #a33 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #ddd }} }}
</style>
<h1>{title}</h1>
<p>Text by the nudging model is marked.</p>
{articles}
</html>
"""


def as_page(task: str, pair: str, answers: Mapping[RunConfig, Sequence[ScoredAnswer]]) -> str:
    """Return an HTML page of all answers to a task's questions, with one article per question.

    Args:
        task: The name of the task.
        pair: The names of the models.
        answers: The answers of each run configuration, to the same questions in the same order.
    """
    by_question = zip(*answers.values(), strict=True)
    articles = "\n".join(_article(dict(zip(answers, scored, strict=True))) for scored in by_question)
    return _PAGE.format(title=escape(f"{task} · {pair}"), articles=articles)


def _article(scored: Mapping[RunConfig, ScoredAnswer]) -> str:
    first = next(iter(scored.values()))
    expected = f'<div class="expected">expected: {escape(first.expected)}</div>' if first.expected else ""
    sections = "\n".join(_section(config, one) for config, one in scored.items())
    return (
        f'<article id="{escape(first.id, quote=True)}"><div class="question">{escape(first.question)}</div>{expected}\n'
        f"{sections}\n</article>"
    )


def _section(config: RunConfig, scored: ScoredAnswer) -> str:
    measure, value = next(iter(scored.measures.items()))
    verdict = f'<span class="{"right" if value else "wrong"}">{measure}: {"yes" if value else "no"}</span>'
    judged = "".join(f" · {escape(aspect)} {score}" for aspect, score in scored.judgement.items())
    answer = _answer(scored.answer, nudged=config.method == "nudged")
    return f"<section><h3>{escape(config.label)} · {verdict}{judged}</h3>{answer}</section>"


def _answer(answer: AnswerRecord, nudged: bool) -> str:
    if answer.problem:
        return f"<p>{escape(answer.problem)}</p>"
    runs = groupby(answer.written, key=lambda piece: piece[0])
    written = [(author, "".join(text for _, text in run)) for author, run in runs]
    ratio = f" · {answer.nudge_ratio:.0%} nudged" if nudged else ""
    return as_html(written, f"{answer.tokens} tokens{ratio} · {answer.finish_reason}")
