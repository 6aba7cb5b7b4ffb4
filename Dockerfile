# Understudy's command line in a container.
#
#   docker build -t understudy .                             for machines without a GPU
#   docker build -t understudy --build-arg DEVICE=cuda .     for NVIDIA GPUs: run with --gpus all
#
# The standard torch wheel carries its CUDA libraries and works on both. To leave these gigabytes out of an image
# without GPU, name PyTorch's index of CPU wheels: --build-arg TORCH_INDEX=<its address>.
#
#   docker run --rm -v "$PWD:/songs" -v understudy:/home/singer/data understudy cover song.mp3 --voice nova
FROM node:22-slim AS page
WORKDIR /src/services/web/source
COPY services/web/source ./
COPY demo /src/demo
RUN npm install --no-save --no-audit --no-fund && npm run build

FROM python:3.12-slim AS build
ARG TORCH_INDEX=""
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY src src
COPY models models
COPY audio audio
COPY voices voices
COPY pipeline pipeline
COPY services services
COPY configs configs
COPY --from=page /src/services/web/static services/web/static
RUN python -m venv /opt/understudy \
    && /opt/understudy/bin/pip install --no-cache-dir --constraint constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[postgresql,ray,s3]"

FROM python:3.12-slim
ARG DEVICE=cpu
# titles in videos: Latin, Greek, Cyrillic, Arabic, Hebrew; fonts-noto-cjk (90 MB) adds Chinese, Japanese, Korean
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/understudy /opt/understudy
RUN useradd --create-home singer \
    && mkdir -p /home/singer/data/voices /home/singer/data/cache /home/singer/data/signing /songs \
    && chown -R singer /home/singer /songs
ENV PATH=/opt/understudy/bin:$PATH \
    UNDERSTUDY_VOICES=/home/singer/data/voices \
    UNDERSTUDY_CACHE=/home/singer/data/cache \
    UNDERSTUDY_MODELS=/home/singer/data/models \
    UNDERSTUDY_SIGNING=/home/singer/data/signing \
    UNDERSTUDY_DEVICE=${DEVICE} \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER singer
# 17 MB: how alike two voices are, the notes of instruments. A new volume begins with them.
RUN understudy models fetch speaker-encoder basic-pitch
WORKDIR /songs
EXPOSE 8000
HEALTHCHECK --interval=5m --timeout=60s CMD ["understudy", "doctor", "--json"]
ENTRYPOINT ["understudy"]
CMD ["--help"]
