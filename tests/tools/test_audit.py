"""`make audit`: a vulnerability fails, a service that is away does not, anything else does."""

from __future__ import annotations

import json

import pytest

from tools import audit

HOLE = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.0"], "description": "bad"}


def report(*holes: object) -> str:
    return json.dumps(
        {
            "dependencies": [
                {"name": "sound", "version": "1.0", "vulns": []},
                {"name": "leaky", "version": "1.9", "vulns": list(holes)},
                {"name": "own", "skip_reason": "not found"},
            ]
        }
    )


def test_a_vulnerability_fails_and_is_named() -> None:
    found = audit.verdict(1, report(HOLE), "Found 1 known vulnerability")

    assert found.code == 1
    assert found.lines[0] == "leaky 1.9: PYSEC-2026-1, mended in 2.0"
    assert "not checked: own" in found.lines[1]
    assert found.lines[2] == "audit: 2 packages, 1 vulnerabilities, 0 accepted"


@pytest.mark.parametrize("name", ["PYSEC-2026-1", "CVE-2026-1"])
def test_an_accepted_vulnerability_does_not_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.ACCEPTED, name, "the part that leaks is not used")
    assert audit.verdict(1, report(HOLE), "").code == 0
    assert audit.verdict(1, report(HOLE, {**HOLE, "id": "PYSEC-2026-2", "aliases": []}), "").code == 1


@pytest.mark.parametrize(
    "said",
    [
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.osv.dev', port=443): Max retries exceeded",
        "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='api.osv.dev', port=443): Read timed out.",
        "pip_audit._service.interface.ServiceError: 503 Server Error",
    ],
)
def test_a_service_that_is_away_is_said_and_does_not_fail(said: str) -> None:
    found = audit.verdict(1, "", f"Traceback (most recent call last):\n  File ...\n{said}\n")

    assert found.code == 0
    assert found.lines[0].startswith("audit: not checked: ")
    assert said[:40] in found.lines[0]


@pytest.mark.parametrize(("code", "said"), [(2, "error: unrecognized arguments"), (1, "KeyError: 'vulns'"), (1, "")])
def test_anything_else_fails(code: int, said: str) -> None:
    assert audit.verdict(code, "", said).code == code
