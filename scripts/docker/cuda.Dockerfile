# The LCD on an NVIDIA GPU: PyTorch's build in the usual index brings CUDA, and the host its driver. From the repository's root:
#   docker build --file scripts/docker/cuda.Dockerfile --tag lcd:cuda .
#   docker run --rm --gpus all --shm-size 8g --volume "$PWD/work:/work" lcd:cuda survey procgen-easy
FROM debian:bookworm-slim

# Procgen loads libGL and glib.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# Caches go to /tmp, which everybody may write to: docker run --user takes any number.
ENV PATH=/opt/lcd/bin:$PATH PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 XDG_CACHE_HOME=/tmp/cache XDG_CONFIG_HOME=/tmp/config \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python3 -m venv /opt/lcd
WORKDIR /src

# PyTorch is most of the image, and changes with its version only: a layer of its own.
COPY constraints.txt ./
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
