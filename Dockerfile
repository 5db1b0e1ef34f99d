# The server of a nudged pair. Without build arguments it is for models on servers, and needs no GPU.
#
#   docker build -t nudging .
#   docker build -t nudging-gguf --build-arg EXTRA=llamacpp .
#   docker build -t nudging-cpu --build-arg EXTRA=transformers .
#
#   docker run --read-only --tmpfs /tmp -v models:/cache -p 8080:8080 -e NUDGING_API_KEY=… nudging-gguf --base-model …

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# "llamacpp" for GGUF files, "transformers" for PyTorch models on the CPU, empty for models on servers
ARG EXTRA=""
WORKDIR /source
# hadolint ignore=DL3008
RUN if [ "$EXTRA" = llamacpp ]; then \
      apt-get update && apt-get install -y --no-install-recommends build-essential cmake git \
      && rm -rf /var/lib/apt/lists/*; \
    fi
# llama.cpp is compiled for any CPU with AVX2 rather than for the one that builds the image, and without libgomp
ENV CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_OPENMP=OFF"
RUN python -m venv /opt/nudging
ENV PATH=/opt/nudging/bin:$PATH
# PyTorch's default wheels bring gigabytes for GPUs, which this image does not use
RUN if [ "$EXTRA" = transformers ]; then \
      pip install --no-cache-dir "torch>=2.6" --index-url https://download.pytorch.org/whl/cpu; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY langchain_nudging langchain_nudging
COPY llamaindex_nudging llamaindex_nudging
COPY llama_index llama_index
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[server${EXTRA:+,$EXTRA}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/nudging /opt/nudging
# downloaded and converted models: mount a volume here. Nothing else is written, except temporary files in /tmp
RUN useradd --uid 10001 --no-create-home nudging && install -d -o nudging -g nudging /cache
ENV PATH=/opt/nudging/bin:$PATH \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /cache
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["nudging", "serve", "--host", "0.0.0.0", "--port", "8080"]
