# Built in two steps, so that pip, the build backend's leftovers and the sources are not in what runs.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY worker ./worker
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --create-home --home-dir /srv/approvals approvals
WORKDIR /srv/approvals
COPY --from=build /venv /venv
COPY --chown=approvals config ./config
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER approvals
# Exec form: SIGTERM reaches the program, which then hands back what it claimed and lets what is in flight come home.
# Leave it 40 s for that (stop_grace_period, terminationGracePeriodSeconds).
ENTRYPOINT ["approvals"]
CMD ["up"]
