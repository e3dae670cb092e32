# The collector (`--target collector`, and the default) and the same with training (`--target training`).
#
#   BASE          an image with Python 3.11 or newer and its venv module
#   TORCH_INDEX   for training: the package index of PyTorch's CPU builds. Without it pip takes the build that
#                 the usual index has, on x86 the one for CUDA, which is larger by some gigabytes.
#
# Nothing here needs BuildKit. `.dockerignore` names what may enter the build.
ARG BASE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
# pip stays in an environment of its own, so that the image has none.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements-collector.lock /src/
# Compiled here once: the root is read-only when it runs, and each start would compile anew.
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --require-hashes \
        --requirement /src/requirements-collector.lock \
    && find /opt/venv/lib -type d \( -name tests -o -name test -o -path '*/pyarrow/include' \) -prune -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 /opt/venv/lib
COPY collector /app/collector
COPY storage_backends /app/storage_backends
# What `--model` needs to run a trained model.
COPY training/__init__.py training/stepper.py training/columns.py /app/training/
RUN python3 -m compileall -q /app

# hadolint ignore=DL3006
FROM ${BASE} AS runtime
RUN mkdir /data && chown 10001:10001 /data
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 COLLECTOR_DATA_DIR=/data
USER 10001:10001
VOLUME /data
STOPSIGNAL SIGTERM

FROM runtime AS collector
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# Begun and answered within some hundredths of a second of CPU: it looks at the age of one file.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 CMD ["python3", "-m", "collector.health"]
ENTRYPOINT ["python3", "-m", "collector"]
CMD ["run"]

FROM build AS training-build
ARG TORCH_INDEX=
COPY requirements.lock requirements-training.lock /src/
# torch is pinned but not hashed, since its builds differ by machine under one version; what it needs is held to the
# versions of the lock, each with the Pythons that it is for.
RUN sed -n 's/^\([A-Za-z0-9].*[^ \\]\) *\\*$/\1/p' /src/requirements.lock >/src/versions \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --require-hashes \
        --requirement /src/requirements-training.lock \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --constraint /src/versions ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch==2.13.0 \
    && find /opt/venv/lib -type d \( -name tests -o -name test \) -not -path '*/torch/*' -prune -exec rm -rf {} +
COPY training /app/training
COPY infra/batch/export_and_train.sh /app/
# torch has files for newer Pythons among those that test it.
RUN python3 -m compileall -q -j 0 -x '/torch/testing/' /opt/venv/lib /app

# Not on top of `collector`: its packages would be in the image twice.
FROM runtime AS training
COPY --from=training-build /opt/venv /opt/venv
COPY --from=training-build /app /app
# A job names its program: `python3 -m training export …`, or /app/export_and_train.sh.
CMD ["python3", "-m", "training", "--help"]

# What a build without --target makes.
FROM collector
