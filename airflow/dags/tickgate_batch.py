"""tickgate at set intervals: feed -> checks -> Cassandra, then the proof that each input has its one output.

Each task runs the binary until it ends by itself, beside long-running instances of the same groups or alone. Settings
are tickgate's own (`TICKGATE_SECTION__KEY`, or `TICKGATE_CONFIG` with a file), from the environment of whatever runs
the tasks; `TICKGATE_BINARY` names the binary where it is not in PATH. A task that fails for good is told to the
Alertmanager at `TICKGATE_ALERTMANAGER`, if that is set, and so to whom its routes name.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import urllib.request
from datetime import datetime, timedelta, timezone

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import DAG, BaseOperator, Param

log = logging.getLogger(__name__)

# The binary's exit codes. What needs people is not tried again: a breach, and settings that are wrong.
NEEDS_PEOPLE = {1: "it could not do its work, or found a breach: see above", 2: "its settings are wrong: see above"}
UNREACHABLE = 3
# Where people find docs/runbooks, as in prometheus/prometheus.yml; `TICKGATE_RUNBOOKS` says otherwise.
RUNBOOKS = "https://tickgate.example/docs/runbooks"
# A stop in order takes the binary 5 s.
STOP_SECONDS = 10


class TickgateOperator(BaseOperator):
    """Runs one role of the binary until it ends; its log becomes the task's."""

    template_fields = ("arguments",)

    def __init__(self, *, arguments: list[str], **kwargs) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self.child: subprocess.Popen | None = None

    def execute(self, context) -> None:
        command = [os.environ.get("TICKGATE_BINARY", "tickgate"), *self.arguments]
        self.log.info("runs %s", " ".join(command))
        self.child = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        try:
            for line in self.child.stdout:
                self.log.info("%s", line.rstrip("\n"))
            code = self.child.wait()
        finally:
            # A timeout comes as an exception: nothing is to run on behind a task that has ended.
            self.on_kill()
        if code == 0:
            return
        if code in NEEDS_PEOPLE:
            raise AirflowFailException(f"`{' '.join(command)}` ended with {code}: {NEEDS_PEOPLE[code]}")
        why = "brokers, feed or table were out of reach" if code == UNREACHABLE else "it did not end by itself"
        raise AirflowException(f"`{' '.join(command)}` ended with {code}: {why}")

    def on_kill(self) -> None:
        if self.child is None or self.child.poll() is not None:
            return
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def environment() -> dict[str, str]:
    """The worker's, with addresses and a state directory that no long-running instance on this host has."""
    free = {f"TICKGATE_{role}__HTTP": "127.0.0.1:0" for role in ("INGEST", "PROCESS", "SINK")}
    state = os.path.join(os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow")), "tickgate-state")
    return {**os.environ, **free, "TICKGATE_PROCESS__STATE_DIR": os.environ.get("TICKGATE_BATCH_STATE_DIR", state)}


def tell(context) -> None:
    """Tells Alertmanager of a task that has failed for good."""
    name = context["task_instance"].task_id
    raise_alert(name, f"the batch's task {name} failed", f"{context.get('exception')}")


def tell_of_run(context) -> None:
    """The same of a run that took too long; of any other, its task has told."""
    if context.get("reason") == "timed_out":
        raise_alert("run", "a run of the batch took too long and was ended", "tasks waited or hung; see the run")


def raise_alert(task: str, summary: str, description: str) -> None:
    log.error("%s: %s", summary, description)
    address = os.environ.get("TICKGATE_ALERTMANAGER")
    if not address:
        return
    now = datetime.now(timezone.utc)
    alert = {
        "labels": {
            "alertname": "TickgateBatchFailed",
            "job": "tickgate-batch",
            "severity": "critical",
            "task": task,
        },
        "annotations": {
            "summary": summary,
            "description": description[:1000],
            "runbook_url": f"{os.environ.get('TICKGATE_RUNBOOKS', RUNBOOKS)}/batch.md#tickgatebatchfailed",
        },
        "startsAt": now.isoformat(),
        # The next run comes before that, and tells it anew if it fails too.
        "endsAt": (now + timedelta(hours=1)).isoformat(),
    }
    request = urllib.request.Request(
        f"{address.rstrip('/')}/api/v2/alerts",
        data=json.dumps([alert]).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):
            pass
    except OSError as error:
        log.error("Alertmanager at %s was not told: %s", address, error)


with DAG(
    dag_id="tickgate_batch",
    description="Feed, checks, table, proof",
    doc_md=__doc__,
    schedule=timedelta(minutes=15),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # Two runs at once would only share the work; one after the other is easier to follow.
    max_active_runs=1,
    # More than all tasks may take with all their retries: what hangs beyond that is nothing that they would notice.
    dagrun_timeout=timedelta(hours=12),
    on_failure_callback=tell_of_run,
    tags=["tickgate"],
    params={
        "ingest_for": Param(
            "10m",
            type="string",
            # Within what the task may take.
            pattern=r"^([1-9]\d{0,2}s|[1-5]?\dm)$",
            description="How long to listen: seconds as in 90s, or minutes up to 59m",
        )
    },
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
        "on_failure_callback": tell,
    },
) as dag:
    ingest = TickgateOperator(
        task_id="ingest",
        arguments=["ingest", "--for", "{{ params.ingest_for }}"],
        execution_timeout=timedelta(minutes=75),
    )
    process = TickgateOperator(
        task_id="process",
        arguments=["process", "--until-caught-up"],
        execution_timeout=timedelta(minutes=30),
    )
    sink = TickgateOperator(
        task_id="sink",
        arguments=["sink", "--until-caught-up"],
        execution_timeout=timedelta(minutes=30),
    )
    audit = TickgateOperator(
        task_id="audit",
        arguments=["audit", "--rows", "--timeout", "2m"],
        execution_timeout=timedelta(minutes=30),
    )
    ingest >> process >> sink >> audit
