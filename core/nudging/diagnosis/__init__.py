"""nudging doctor: describes this machine, and says what prevents a pair from answering. No weights are loaded."""

from nudging.diagnosis.finding import Finding
from nudging.diagnosis.machine import diagnose_machine
from nudging.diagnosis.pair import diagnose_pair, secrets_of

__all__ = ["Finding", "diagnose_machine", "diagnose_pair", "secrets_of"]
