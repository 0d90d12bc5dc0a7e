"""`python -m julia.exercicio.tiques JOB INSTANT COUNT`: the same planned instant of a job offered COUNT times.

What two schedulers, a restart inside the minute or a doubled tick do to the task cluster.
"""

import sys

import django

django.setup()

from django_q.tasks import async_task  # noqa: E402

from core.jobs import registry, schedules  # noqa: E402


def main() -> None:
    name, instant, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cluster = registry.find(name).cluster.value
    for _ in range(count):
        async_task(schedules.FUNCTION, name, intended=instant, cluster=cluster)


if __name__ == "__main__":
    main()
