"""The memory that a pair needs, and the memory that is free."""

from collections.abc import Mapping

from nudging.answer import Author
from nudging.diagnosis.facts import ModelFacts
from nudging.diagnosis.finding import Finding, size
from nudging.diagnosis.memory import Memory, Need, overfull
from nudging.models.config import ModelConfig

TOKENS = 4096
"""The length of a conversation for which memory must suffice."""

BYTES_IN_4_BITS = 0.6
"""Bytes per parameter of a GGUF file of 4 bits (Q4_K_M)."""


def diagnose_fit(
    known: Mapping[Author, ModelFacts], configs: Mapping[Author, ModelConfig], memory: Mapping[str, Memory]
) -> Finding:
    """Return the line that says if the models fit in memory together."""
    here = {author: facts for author, facts in known.items() if facts.devices}
    if not here:
        return Finding("ok", "together", "no memory of this machine is needed")
    if any(facts.weights is None for facts in here.values()):
        return Finding("note", "together", "not known if they fit: the size of one is not known")
    if unknown := {device for facts in here.values() for device in facts.devices} - set(memory):
        text = (
            f"not known if they fit: the free memory of {', '.join(sorted(unknown))} is not known (pip install psutil)"
        )
        return Finding("note", "together", text)
    needs = {author: Need(_needed(facts, TOKENS), facts.devices) for author, facts in here.items()}
    data: dict[str, int] = {author: need.size for author, need in needs.items()}
    needed = sum(data.values())
    if over := overfull(list(needs.values()), memory):
        text = f"does not fit: {size(over[0])} needed for {TOKENS:,} tokens, {size(over[1])} free"
        return Finding("fail", "together", f"{text}. {_advice(here, configs)}", data)
    if len(known) < len(configs):
        return Finding("note", "together", "not known if they fit: one model is missing", data)
    whole = [Need(_needed(facts, facts.context or TOKENS), facts.devices) for facts in here.values()]
    text = f"fits: {size(needed)} needed for {TOKENS:,} tokens"
    if over := overfull(whole, memory):
        text += f"; the whole context needs {size(over[0])}, {size(over[1])} are free: keep conversations shorter"
        return Finding("note", "together", text, data)
    return Finding("ok", "together", text, data)


def _needed(facts: ModelFacts, tokens: int) -> int:
    return (facts.weights or 0) + (facts.cache or 0) * min(tokens, facts.context or tokens)


def _advice(here: Mapping[Author, ModelFacts], configs: Mapping[Author, ModelConfig]) -> str:
    """Return what to do about the largest model."""
    author, facts = max(here.items(), key=lambda one: one[1].weights or 0)
    advice = []
    if facts.parameters and configs[author].backend_in_use == "transformers":
        if facts.dtype == "float32":
            advice.append(f"--{author}-dtype bfloat16 ({size(2 * facts.parameters)})")
        advice.append(f"a GGUF file of it with 4 bits ({size(BYTES_IN_4_BITS * facts.parameters)})")
    advice += ["a smaller model", f"a server (--{author}-url)"]
    return f"For the {author} model, try {', '.join(advice[:-1])} or {advice[-1]}"
