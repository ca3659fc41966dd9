"""Sweeps on a Ray cluster that somebody else's machine runs: submit, watch, stop, resume, fetch, examine.

Everything goes through the one port of Ray's dashboard (the Jobs API and its log files), with a token. Nothing is
remembered on this side: a job's name, attempt, owner and place of results stand in the job's metadata, so any
machine that holds the token can take it up. The only room that imports `ray.job_submission`.
"""

from searcher.cluster.connection import Connection, connect
from searcher.cluster.doctor import Finding, examine
from searcher.cluster.fetching import fetch
from searcher.cluster.jobs import Job, find, list_jobs, resume, submit

__all__ = ["Connection", "Finding", "Job", "connect", "examine", "fetch", "find", "list_jobs", "resume", "submit"]
