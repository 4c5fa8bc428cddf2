# The market's own images. The base comes by argument, so that it also builds where no registry is reachable:
# scripts/images makes prixfixe-base:bookworm from Debian packages; with a registry, python:3.11-slim-bookworm does.
# What goes in (locked wheels, installed; the chain's binary) is staged in build/image by scripts/images.
ARG BASE=prixfixe-base:bookworm

FROM ${BASE} AS chain
COPY build/image/anvil /usr/local/bin/anvil
EXPOSE 8545
ENTRYPOINT ["anvil", "--host", "0.0.0.0", "--accounts", "20"]

FROM ${BASE} AS prixfixe
COPY build/image/site /opt/prixfixe
ENV PYTHONPATH=/opt/prixfixe PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["python3", "-m", "prixfixe"]
CMD ["--help"]
