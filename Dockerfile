FROM python:3.12-slim AS packages
RUN python -m venv /opt/venv
COPY requirements.lock .
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.12-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin julia
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY . .
RUN python manage.py collectstatic --noinput --verbosity 0 \
    && python -m whitenoise.compress --quiet .julia/static \
    && chown -R julia .julia
USER julia
EXPOSE 8000
STOPSIGNAL SIGTERM
# RUN_MODE (api, scheduler, worker) chooses the role; without it the process ends and lists the values.
CMD ["python", "manage.py", "servir"]
