#!/usr/bin/env python
import os
import sys

from django.core.exceptions import ImproperlyConfigured

from julia.bootstrap import prepare
from julia.embedded import EmbeddedPostgresError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "julia.settings")
    try:
        prepare(sys.argv[1:])
    except (ImproperlyConfigured, EmbeddedPostgresError) as error:
        sys.exit(f"manage.py: {error}")

    from django.core.management import execute_from_command_line  # reads the settings

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
