# Our two programs, each in an image of its own: `stream-processor` and `webhook-sink`. Both come from one build, because
# they share most of what is compiled.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /deltafan
# An image holds no line tables: they are most of a binary. A panic names its line all the same.
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY Cargo.toml Cargo.lock ./
# Members that are not built here; Cargo wants to know of them.
COPY e2e/Cargo.toml e2e/
COPY bench/Cargo.toml bench/
COPY fuzz/Cargo.toml fuzz/
RUN for member in e2e bench fuzz; do mkdir "$member/src" && touch "$member/src/main.rs"; done
COPY config/deltafan.yaml config/
COPY webhook-protocol webhook-protocol
COPY webhook-sink webhook-sink
COPY processor processor
# The caches outlive the build, so that a changed line compiles one crate and not two hundred.
RUN --mount=type=cache,id=deltafan-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=deltafan-target,target=/deltafan/target,sharing=locked \
    cargo build --release --locked -p deltafan -p webhook-sink \
    && install -D -t /programs target/release/deltafan target/release/webhook-sink

FROM ${DEBIAN_IMAGE} AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY stack/docker/healthy /usr/local/bin/healthy
RUN groupadd --gid 10001 deltafan && useradd --uid 10001 --gid deltafan --no-create-home --home-dir / --shell /usr/sbin/nologin deltafan

FROM base AS stream-processor
COPY --from=build /programs/deltafan /usr/local/bin/deltafan
USER 10001:10001
ENTRYPOINT ["deltafan"]
CMD ["run"]

FROM base AS webhook-sink
COPY --from=build /programs/webhook-sink /usr/local/bin/webhook-sink
# A named volume takes its owner from here.
RUN install -d -o deltafan -g deltafan -m 700 /var/lib/webhook-sink
USER 10001:10001
ENTRYPOINT ["webhook-sink"]
