"""lm-evaluation-harness on llama.cpp."""

from nudging.evaluation.harness import NudgingLM
from nudging.models.llamacpp.model import LlamaCppModel


def test_the_demo_pair_runs_on_llama_cpp_whatever_device_lm_eval_names() -> None:
    model = NudgingLM(device="cuda:0", base_backend="llamacpp", nudging_backend="llamacpp")
    assert isinstance(model.nudger.base_model, LlamaCppModel)
    assert isinstance(model.nudger.nudging_model, LlamaCppModel)
