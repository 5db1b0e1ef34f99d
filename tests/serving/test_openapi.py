"""Generated requests, valid and invalid under the OpenAPI schema: no 500, and every reply has its documented shape."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from nudging import Nudger, ScriptedModel
from nudging.serving import create_app
from schemathesis import Case

app = create_app(Nudger(ScriptedModel("yes it is"), ScriptedModel("yes it is")))
schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_reply_has_its_documented_shape(case: Case) -> None:
    case.call_and_validate()
