# One small image for every role: docker build -t tickgate:0.1.0 .
# Built from Cargo.lock alone, with the distribution's toolchain; --network=none works once the caches are filled.
FROM debian:12.15-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
    build-essential ca-certificates cargo-web libclang-dev libssl-dev pkg-config rustc-web zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# RocksDB's archive, the crates and what was compiled outlive a build.
RUN --mount=type=cache,target=/cache \
    export CARGO_HOME=/cache/cargo CARGO_TARGET_DIR=/cache/target TICKGATE_CACHE=/cache/tickgate \
 && bash -c '. dev/env && cargo build --locked --release -p tickgate --bin tickgate' \
 && install -D --strip /cache/target/release/tickgate /out/tickgate

# --target airflow: Airflow with the binary that its tasks run, and the DAG. Not part of the plain image.
FROM apache/airflow:3.3.2 AS airflow
COPY --from=build /out/tickgate /usr/local/bin/tickgate
COPY airflow/dags /opt/tickgate/dags
ENV AIRFLOW__CORE__DAGS_FOLDER=/opt/tickgate/dags

FROM debian:12.15-slim AS tickgate
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 tickgate \
 && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/tickgate --create-home tickgate
COPY --from=build /out/tickgate /usr/local/bin/tickgate
USER 10001:10001
WORKDIR /var/lib/tickgate
# Instances that are started alike share a volume, and have a directory each.
ENV TICKGATE_PROCESS__STATE_DIR=/var/lib/tickgate/{slot}
VOLUME /var/lib/tickgate
# Whatever role runs in here, by the addresses in its settings.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["tickgate", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tickgate"]
CMD ["--help"]
