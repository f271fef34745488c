# CUDA 13.0 is what the torch release pinned in constraints.txt is built for.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv \
    && useradd --create-home hlm
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/hierarchy-lm
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hierarchy_lm hierarchy_lm
COPY data_modules data_modules
RUN pip install --no-cache-dir --constraint constraints.txt .

# The working directory is the user's own: runs and caches are written there.
USER hlm
WORKDIR /home/hlm
COPY --chown=hlm experiments experiments
ENTRYPOINT ["hlm"]
