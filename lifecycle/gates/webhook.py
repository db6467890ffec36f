"""The gate ``webhook``: a service that gets the case as JSON and answers ``{"passed": true, "summary": "…"}``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.posting import Post, Undelivered, send
from alluxio_lance.lifecycle.gates.reporting import short
from alluxio_lance.lifecycle.rules.document import WebhookGate

__all__ = ["judge_webhook"]


def judge_webhook(gate: WebhookGate, case: Case) -> Judgement:
    """Ask it. Only a clear yes is one."""
    post = Post(
        url=gate.url,
        body=json.dumps(case.as_json(), default=str).encode(),
        secret_env=gate.secret_env,
        timeout=gate.timeout.total_seconds(),
        retries=gate.retries,
        allow_private=gate.allow_private,
    )
    try:
        answer = send(post)
    except Undelivered as error:
        return Judgement(verdict=Verdict.ERROR, summary=short(error))
    return _read(answer)


def _read(answer: bytes) -> Judgement:
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, Mapping) or not isinstance(said.get("passed"), bool):
        return Judgement(
            verdict=Verdict.ERROR,
            summary='the service did not answer with {"passed": true or false, "summary": "…"}',
            details={"answer": answer[:500].decode("utf-8", "replace")},
        )
    verdict = Verdict.PASSED if said["passed"] else Verdict.FAILED
    details = said.get("details")
    summary = short(said.get("summary", "")) or f"the service said {'yes' if said['passed'] else 'no'}"
    return Judgement(verdict=verdict, summary=summary, details=details if isinstance(details, Mapping) else {})
