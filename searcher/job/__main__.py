"""Dispatches a job's command; an error of ours becomes a message to the client, and exit code 2."""

from __future__ import annotations

import argparse
import signal
import sys

from searcher.cluster.messages import tell
from searcher.errors import SearcherError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m searcher.job")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--mode", required=True)
    run.add_argument("--owner", required=True)
    run.add_argument("--results", required=True)
    parcel = commands.add_parser("parcel")
    parcel.add_argument("--sweep", required=True)
    parcel.add_argument("--results", required=True)
    commands.add_parser("checkup").add_argument("--results")
    notice = commands.add_parser("notice")
    notice.add_argument("--cloud", choices=["aws", "gcp", "now"], required=True)
    notice.add_argument("--node")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `searcher stop` loses no more than Ctrl-C
    try:
        match given.command:
            case "run":
                from searcher.job.sweep import run_sweep

                run_sweep(given.mode, given.owner, given.results)
            case "parcel":
                from searcher.job.parcel import offer_parcel

                offer_parcel(given.sweep, given.results)
            case "checkup":
                from searcher.job.checkup import checkup

                checkup(given.results)
            case "notice":
                from searcher.job.notice import give_notice

                give_notice(given.cloud, given.node)
    except SearcherError as error:
        tell("error", type=type(error).__name__, text=str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
