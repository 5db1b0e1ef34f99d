"""`POST /v1/responses`: OpenAI's Responses API. Nothing is stored, so each request brings the whole conversation."""
