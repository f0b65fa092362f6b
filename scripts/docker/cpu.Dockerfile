# The LCD on processors. From the repository's root, with the index of PyTorch's CPU builds (its own index has CUDA builds, gigabytes):
#   docker build --file scripts/docker/cpu.Dockerfile --build-arg PIP_EXTRA_INDEX_URL=… --tag lcd:cpu .
#   docker run --rm --volume "$PWD/work:/work" lcd:cpu diagnose starpilot --preset quick
FROM debian:bookworm-slim

# Procgen loads libGL and glib.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# Caches go to /tmp, which everybody may write to: docker run --user takes any number.
ENV PATH=/opt/lcd/bin:$PATH PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 XDG_CACHE_HOME=/tmp/cache XDG_CONFIG_HOME=/tmp/config
RUN python3 -m venv /opt/lcd
WORKDIR /src

# PyTorch is most of the image, and changes with its version only: a layer of its own.
COPY constraints.txt ./
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE ./
COPY lcd lcd
COPY agents agents
COPY envs envs
COPY analyses analyses
RUN pip install --no-cache-dir --constraint constraints.txt ".[procgen,minigrid,atari,crafter,efficientnet,ray,slurm]"

# Runs and diagnoses go to /work, which is to be a volume.
WORKDIR /work
ENTRYPOINT ["lcd"]
CMD ["--help"]
