"""Every family of decoders in transformers, as a small random model, against a decoder without a cache.

A family that is new in transformers appears here by itself. The verdicts are the table in docs/models.md, which
`python tests/families/table.py` writes.
"""

from pathlib import Path

import pytest
from families.small_models import decoder_types
from families.table import PAGE, rows_of
from families.verdicts import NOT_FOR_TEXT, Verdict, verdict

pytestmark = pytest.mark.families


@pytest.mark.parametrize("model_type", sorted(set(decoder_types()) - set(NOT_FOR_TEXT)))
def test_a_family_decodes_as_without_a_cache_or_is_refused(model_type: str, tmp_path: Path) -> None:
    found = verdict(model_type, tmp_path)
    assert found.outcome != "wrong", found.detail
    documented = rows_of(PAGE.read_text())
    assert documented[model_type] == found, "run python tests/families/table.py"


@pytest.mark.parametrize("model_type", NOT_FOR_TEXT)
def test_a_family_that_is_not_for_text_is_documented(model_type: str) -> None:
    assert rows_of(PAGE.read_text())[model_type] == Verdict("refused", NOT_FOR_TEXT[model_type])
