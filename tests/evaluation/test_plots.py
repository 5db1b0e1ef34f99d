"""Pictures leave the user's matplotlib as it is, and matplotlib is imported only for drawing."""

import subprocess
import sys
from pathlib import Path

import pytest
from nudging.errors import MissingDependencyError
from nudging.evaluation.plots import require_matplotlib

DRAW = """
import sys, matplotlib
from pathlib import Path
backend = "svg"
matplotlib.use(backend)
from nudging.evaluation.answer_log import AnswerRecord
from nudging.evaluation.disagreement import Analysis, AnswerComparison, Position
from nudging.evaluation.disagreement_report import draw_disagreement
from nudging.evaluation.result_plots import draw_all
from nudging.evaluation.results import RunConfig, ScoredAnswer, TaskResult

folder = Path(sys.argv[1])
scored = [ScoredAnswer("1", "?", "1", AnswerRecord((("base", "1"),), "stop", 1, 0.5), {"accuracy": 1.0})]
draw_all([TaskResult.of("gsm8k", RunConfig("nudged", threshold), scored) for threshold in (0.2, 0.4)], folder)
positions = (Position(0, "a", "b", 0.1, False), Position(1, "a", "a", 0.9, True))
draw_disagreement(Analysis("base", "nudging", (AnswerComparison("?", "ab", positions),)), folder / "analysis.png")
assert matplotlib.get_backend() == backend, matplotlib.get_backend()
assert "matplotlib.pyplot" not in sys.modules
"""


def test_drawing_keeps_the_backend_and_imports_no_pyplot(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DRAW, tmp_path], capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    pictures = {"accuracy.png", "nudge_ratio.png", "thresholds.png", "analysis.png"}
    assert {path.name for path in tmp_path.iterdir()} == pictures
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_importing_plots_does_not_import_matplotlib() -> None:
    code = "import sys, nudging.evaluation.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603


def test_require_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"a picture needs the package matplotlib: .*nudging\[plot\]"):
        require_matplotlib()
