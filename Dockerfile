# Two images from one file: the services (the default) and, with --target sample, the sample system.
# What changes seldom comes first: the locked requirements are a layer of their own, above the source.

FROM debian:bookworm-slim AS python
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/backout --create-home backout

FROM python AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

FROM tools AS wheel
COPY requirements/build.txt /build/requirements/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement /build/requirements/build.txt
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY chassis chassis
COPY services services
COPY cli cli
COPY backout_client backout_client
COPY config config
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

FROM tools AS services-environment
COPY requirements/runtime.txt /build/requirements/
RUN python3 -m venv /opt/backout \
    && /opt/backout/bin/pip install --require-hashes --requirement /build/requirements/runtime.txt
COPY --from=wheel /dist /dist
RUN /opt/backout/bin/pip install --no-deps --no-index /dist/*.whl

FROM tools AS sample-environment
COPY requirements/docrag.txt /build/requirements/
RUN python3 -m venv /opt/docrag \
    && /opt/docrag/bin/pip install --require-hashes --requirement /build/requirements/docrag.txt

# The sample system. PyMuPDF in it is AGPL-3.0; the services' image is free of it.
FROM python AS sample
ENV PATH=/opt/docrag/bin:$PATH
COPY --from=sample-environment /opt/docrag /opt/docrag
COPY backout_client /srv/backout_client
COPY examples/__init__.py /srv/examples/
COPY examples/docrag /srv/examples/docrag
ENV PYTHONPATH=/srv \
    DOCRAG_STATE_DIR=/var/lib/backout/docrag
WORKDIR /var/lib/backout
USER 10001:10001
EXPOSE 8090
ENTRYPOINT ["python3", "-m", "examples.docrag"]
CMD ["serve", "--host", "0.0.0.0"]

# The services: `run monitor`, `run executor`, `run notifier`, `run analyzer`; and the command line.
FROM python AS services
ENV PATH=/opt/backout/bin:$PATH
COPY --from=services-environment /opt/backout /opt/backout
COPY config /etc/backout
ENV BACKOUT_CONFIG_DIR=/etc/backout \
    BACKOUT_STATE_DIR=/var/lib/backout \
    BACKOUT_HTTP__HOST=0.0.0.0 \
    BACKOUT_HTTP__PORT=8080
WORKDIR /var/lib/backout
USER 10001:10001
EXPOSE 8080
# Without a shell between, so that a stop's SIGTERM arrives. Who runs the executor waits for longer than
# executor.stop_grace_s after it (docs/operations.md).
ENTRYPOINT ["backout"]
CMD ["--help"]
