"""A pair: where each model is, what it needs, its templates, and if both fit in memory."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.config import NudgerConfig
from nudging.diagnosis.demo import check_demo_installed, demo_place
from nudging.diagnosis.facts import ModelFacts
from nudging.diagnosis.finding import Finding, amount, size
from nudging.diagnosis.fit import TOKENS, diagnose_fit
from nudging.diagnosis.memory import memory_by_device
from nudging.errors import NudgingError, SettingsError
from nudging.families import family_of
from nudging.models.config import ModelConfig
from nudging.models.gguf_files import is_gguf
from nudging.prompting.templates import render_base
from nudging.settings import checked

QUESTION = ({"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hello"})
"""A conversation that every template has to render."""


def diagnose_pair(options: Mapping[str, Any]) -> list[Finding]:
    """Return the lines on a pair. A model that is not given is the demo pair's.

    Args:
        options: Fields of `NudgerConfig`.
    """
    try:
        config = _config(options)
        configs = {author: config.config_of(author) for author in get_args(Author)}
        _ = config.settings
    except NudgingError as error:
        return [Finding("fail", "options", str(error))]
    findings: list[Finding] = []
    known: dict[Author, ModelFacts] = {}
    for author, one in configs.items():
        try:
            if options.get(f"{author}_model") is None and not Path(one.name).exists():
                check_demo_installed()
                text = "the demo pair's, not converted yet: its first answer does that, which takes a minute"
                findings.append(Finding("note", _title(author), text))
                continue
            facts = _facts(one, author)
            findings += _lines(author, one, facts)
            known[author] = facts
        except NudgingError as error:
            findings.append(Finding("fail", _title(author), str(error)))
        except Exception as error:  # of a library, on a file that nobody has tried yet
            text = f"{one.name!r} cannot be examined ({type(error).__name__}: {error}): report this line as a bug"
            findings.append(Finding("fail", _title(author), text))
    if known:
        findings.append(diagnose_fit(known, configs, memory_by_device()))
    return [*findings, _threshold(config)]


def secrets_of(options: Mapping[str, Any]) -> set[str]:
    """Return the values of options and of the environment that nobody else may see."""
    keys = (options.get(f"{author}_api_key") for author in get_args(Author))
    urls = (str(options.get(f"{author}_url") or "") for author in get_args(Author))
    token = os.environ.get("HF_TOKEN", "")
    return {token, *(key.get_secret_value() for key in keys if key), *(url.partition("?")[2] for url in urls)}


def _config(options: Mapping[str, Any]) -> NudgerConfig:
    names: dict[str, str] = {}
    for author in get_args(Author):
        if options.get(f"{author}_model") is None:
            if options.get(f"{author}_url") is not None:
                raise SettingsError(f"--{author}-url needs --{author}-model, the server's name for the model")
            names[f"{author}_model"] = str(demo_place(author, options.get(f"{author}_backend")))
    return checked(NudgerConfig, {**options, **names})


def _facts(config: ModelConfig, author: Author) -> ModelFacts:
    if config.url:
        from nudging.diagnosis.server import read_server

        return read_server(config, author)
    if is_gguf(config.name):
        from nudging.diagnosis.gguf_header import read_gguf

        return read_gguf(config)
    with required_packages(f"a local model ({config.name!r})", extra="transformers"):
        from nudging.diagnosis.checkpoint import read_checkpoint
    return read_checkpoint(config)


def _title(author: Author) -> str:
    return f"{author} model"


def _lines(author: Author, config: ModelConfig, facts: ModelFacts) -> Iterator[Finding]:
    download = f"; {size(facts.to_download)} to download at the first use" if facts.to_download else ""
    warning = f"; {facts.warning}" if facts.warning else ""
    yield Finding(
        "note" if download or warning else "ok",
        _title(author),
        f"{config.name} is {facts.place}{download}{warning}",
        {"name": config.name, "runs_on": facts.runs_on, "to_download": facts.to_download},
    )
    if not config.url:
        yield Finding("ok", "  weights", _weights(facts), {"architecture": facts.architecture})
    cached = min(TOKENS, facts.context or TOKENS)
    data = {"context": facts.context, "cache_per_token": facts.cache}
    context = f"{facts.context:,} tokens" if facts.context else "length not known"
    if facts.cache:
        context += f"; KV cache {size(facts.cache * cached)} for {cached:,} tokens"
        if facts.context and facts.context > cached:
            context += f", {size(facts.cache * facts.context)} for all"
    yield Finding("ok", "  context", context, data)
    yield _template(author, config, facts)


def _weights(facts: ModelFacts) -> str:
    parts = [
        facts.architecture or "architecture not known",
        f"{amount(facts.parameters)} parameters" if facts.parameters else "",
        f"{size(facts.weights)} in {facts.dtype or 'the file'}" if facts.weights else "size not known",
        facts.runs_on,
    ]
    return ", ".join(filter(None, parts))


def _template(author: Author, config: ModelConfig, facts: ModelFacts) -> Finding:
    name = "  template"
    try:
        if author == "base":
            render_base(QUESTION, config.template)
            return Finding("ok", name, "base_template" if config.template else "plain text, one message per line")
        if facts.tokenizer is not None:
            facts.tokenizer.render(QUESTION, config.template)
        elif config.template is None and facts.has_template is None:
            return Finding("note", name, "checked once the model is downloaded")
        elif config.template is None and not facts.has_template:
            text = "the file has none: pass nudging_template='…' (Jinja), or choose an instruction-tuned model"
            return Finding("fail", name, text)
    except NudgingError as error:
        return Finding("fail", name, str(error))
    return Finding("ok", name, "nudging_template" if config.template else "the model's own chat template")


def _threshold(config: NudgerConfig) -> Finding:
    family = family_of(str(config.base_model))
    if "threshold" in config.model_fields_set:
        source = "given"
    elif family:
        source = f"the paper's for {family.name}"
    else:
        source = "the default: the paper has none for this family; `nudging tune` finds the best for your questions"
    return Finding("ok", "threshold", f"{config.threshold} ({source})", {"threshold": config.threshold})
