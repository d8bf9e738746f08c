# The project with its environment from the locks. `--build-arg LOCK=cpu` installs no CUDA build of vLLM.
FROM python:3.11-slim-bookworm

ARG LOCK=gpu
ENV PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DESIGNCLIP_CACHE=/cache \
    PATH=/opt/designclip/.venv/bin:$PATH

# vLLM compiles small kernels when it starts.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/designclip
COPY requirements/ requirements/
# hadolint ignore=DL3013
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir uv \
    && .venv/bin/uv pip install --python .venv/bin/python --no-cache --no-deps --requirement "requirements/${LOCK}.lock"

COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY patentdata/ patentdata/
COPY model/ model/
COPY tasks/ tasks/
COPY flows/ flows/
RUN .venv/bin/uv pip install --python .venv/bin/python --no-cache --no-deps --editable . \
    && useradd --create-home --uid 1000 designclip \
    && mkdir -p data /cache \
    && chown designclip data /cache

# The deployments name the data folder relative to this one.
USER 1000
VOLUME ["/opt/designclip/data", "/cache"]
ENTRYPOINT ["designclip"]
CMD ["--help"]
