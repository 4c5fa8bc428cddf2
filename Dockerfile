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
# Not by PYTHONPATH: a worker starts its runner without regard to the environment.
RUN python3 -c "import os, site; folder = site.getsitepackages()[0]; os.makedirs(folder, exist_ok=True); open(os.path.join(folder, 'prixfixe.pth'), 'w').write('/opt/prixfixe\n')"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["python3", "-m", "prixfixe"]
CMD ["--help"]

# PostgreSQL for docker-compose.yml, from the host's Debian packages, staged by scripts/images. With a registry any
# image of PostgreSQL 15 or later does as well (POSTGRES=postgres:15): the variables are that image's.
FROM ${BASE} AS postgres
COPY build/image/postgres /
RUN echo 'postgres:x:70:70:PostgreSQL:/var/lib/postgresql:/bin/sh' >> /etc/passwd && echo 'postgres:x:70:' >> /etc/group \
  && mkdir -p /var/lib/postgresql/data /var/run/postgresql && chown -R 70:70 /var/lib/postgresql /var/run/postgresql
USER postgres
WORKDIR /var/lib/postgresql
ENV PATH=/usr/lib/postgresql/bin:/usr/local/bin:/usr/bin:/bin LD_LIBRARY_PATH=/usr/lib/postgresql/system
ENTRYPOINT ["/usr/lib/postgresql/begin"]
CMD ["postgres"]

# A provider's worker beside the host's engine, which mounts job data by the host's paths: its folder must have the same path
# inside and outside, and the engine's socket is handed in. Jobs are siblings of this container, not inside of it.
#   docker run --detach --restart on-failure --stop-timeout 150 --name prixfixe-worker \
#     --volume /var/run/docker.sock:/var/run/docker.sock --volume /var/lib/prixfixe:/var/lib/prixfixe prixfixe-worker:local
FROM prixfixe AS worker
WORKDIR /var/lib
ENTRYPOINT ["python3", "-m", "prixfixe", "worker"]
CMD ["start", "--data", "/var/lib/prixfixe"]
