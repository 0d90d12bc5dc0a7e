import argparse
import sys

from julia.embedded import DEFAULT_NAME, EmbeddedPostgresError, cluster

NOT_RUNNING = 3  # the code of `pg_ctl status`


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m julia.embedded", description="The private PostgreSQL of this clone."
    )
    parser.add_argument("action", choices=["start", "stop", "status", "url"])
    parser.add_argument("--name", default=DEFAULT_NAME, help="which server (default: %(default)s)")
    arguments = parser.parse_args()
    server = cluster(arguments.name)
    if arguments.action == "start":
        print("started" if server.start() else "already running", server.url)
    elif arguments.action == "stop":
        print("stopped" if server.stop() else "was not running")
    elif arguments.action == "url":
        print(server.url)
    else:
        running = server.is_running()
        print("running" if running else "not running", server.at.data)
        return 0 if running else NOT_RUNNING
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbeddedPostgresError as error:
        sys.exit(str(error))
