"""`nudging doctor`: what is installed, and what prevents a pair from answering. Bug reports contain its output."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from nudging.cli.console import FAILED, err, out, reported_errors, silence_transformers
from nudging.cli.options import NudgerOptions, nudger_options
from nudging.diagnosis import Finding, diagnose_machine, diagnose_pair, secrets_of

STYLES = {"ok": "green", "note": "yellow", "fail": "bold red"}


@nudger_options()
def doctor(
    options: NudgerOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON")] = False,
) -> None:
    """Describe this machine, and a pair if one is named. No weights are loaded. Exit code 1: there is a problem."""
    with reported_errors():
        with err.status("looking"):
            silence_transformers()
            found = diagnose_machine() + (diagnose_pair(options) if options else [])
        findings = [finding.without(secrets_of(options)) for finding in found]
        is_ok = all(finding.status != "fail" for finding in findings)
        if as_json:
            typer.echo(json.dumps({"ok": is_ok, "findings": [asdict(one) for one in findings]}, ensure_ascii=False))
        else:
            _print(findings)
        if not is_ok:
            raise typer.Exit(FAILED)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for one in findings:
        out.print(
            Text.assemble((f"{one.status:<4}  ", STYLES[one.status]), (f"{one.name:<{width}}  ", "bold"), one.text)
        )
