"""What is secret in a text, found by its form and by its value, and nothing that is not."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from penstock.errors import InputError
from penstock.redaction import keep, learn, redact, redact_address

HIDDEN = {
    "postgresql://me:hunter2@db/loans": "postgresql://***@db/loans",
    "postgresql+psycopg://me:hun@ter2@db/loans": "postgresql+psycopg://***@db/loans",
    "postgresql://me:hun/ter2@db/loans": "postgresql://***@db/loans",
    "mysql://me:12/hunter2@db": "mysql://***@db",
    "postgresql://me:hunter2@one:5432,two:5432/loans?sslmode=require": (
        "postgresql://***@one:5432,two:5432/loans?sslmode=require"
    ),
    "mongodb://a:hunter2@one,b:hunter2@two/x": "mongodb://***@two/x",
    "https://hunter2@host/table.csv": "https://***@host/table.csv",
    "redis://:hunter2@host": "redis://***@host",
    "postgresql://db/x?user=me&password=hunter2": "postgresql://db/x?user=me&password=***",
    "https://a/t.csv?X-Amz-Signature=hunter2&X-Amz-Date=1": (
        "https://a/t.csv?X-Amz-Signature=***&X-Amz-Date=1"
    ),
    "https://a/t.csv?sv=2020&sig=hunter2": "https://a/t.csv?sv=2020&sig=***",
    "https://a/t?token=hunter2": "https://a/t?token=***",
    "https://hooks.slack.com/services/T0/B0/hunter2": "https://hooks.slack.com/***",
    "https://api.telegram.org/bot12:hunter2/send": "https://api.telegram.org/***",
    "could not connect: host=db password=hunter2 dbname=x": (
        "could not connect: host=db password=*** dbname=x"
    ),
    """{"password": "hunter2", "n": 1}""": """{"password": "***", "n": 1}""",
    "Driver=X;PWD=hunter2;Server=s": "Driver=X;PWD=***;Server=s",
    "{'Authorization': 'Basic aHVudGVyMg=='}": "{'Authorization': 'Basic ***'}",
    "Bearer abcdefgh12345678": "Bearer ***",
    "key AKIAIOSFODNN7EXAMPLE is": "key *** is",
    "http%3A%2F%2Fme%3Ahunter2%40host%2Fx": "http%3A%2F%2F***%40host%2Fx",
    # Cut off, as errors are: what follows the colon is no port.
    "cannot parse 'postgresql://me:hunt": "cannot parse 'postgresql://***",
    "one http://a:hunter2@b, two http://c:hunter2@d": "one http://***@b, two http://***@d",
}


@pytest.mark.parametrize("text", HIDDEN)
def test_a_secret_is_known_by_its_form(text: str) -> None:
    assert redact(text) == HIDDEN[text]
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1",
        "http://127.0.0.1:5000: refused",
        "connect to http://localhost:8080.",
        "https://registry.example/@scope/package",
        "http://host:8080/a@b",
        "http://[::1]:5000/a@b",
        "s3://bucket/2024@v2/table.parquet",
        "abfss://container@account.dfs.core.windows.net/x",
        "delta+abfss://container@account.dfs.core.windows.net/x",
        "dvc+ssh://git@git.example.com/loans.git//data",
        "file:///C:/data/table.csv",
        "sqlite:////home/ada/mlflow.db",
        "mysql://db:3306/x?mail=a@b",
        "postgresql://me:${env:DB_PASSWORD}@db/loans",
        "https://kubeflow/?ns=team#/runs/details/1",
        "column 'token' is gone; slice password_length in [3, 8)",
        "row 3: column 'password': the value is missing",
        "mailto:ada@example.org, 10:30@noon",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_of_an_address_from_outside_every_value_of_the_query_goes() -> None:
    shown = redact_address("https://a/t.csv?part=7&whatever=hunter2#x")
    assert shown == "https://a/t.csv?part=***&whatever=***"


@pytest.mark.parametrize(
    "secret", ["p@ss/w:rd #1", "zwei\nZeilen-lang", 'quo"te\\d<&>', "ünïcode!"]
)
def test_a_known_secret_goes_however_it_is_written(secret: str) -> None:
    keep(secret)
    encoded = quote(secret, safe="")
    hexadecimal = re.sub("%..", lambda code: code[0].lower(), encoded)
    for written in (
        secret, encoded, hexadecimal, quote(secret), quote(encoded, safe=""), repr(secret),
        json.dumps(secret), json.dumps({"body": json.dumps(secret)}),
    ):  # fmt: skip
        shown = redact(f"before {written} after")
        assert "***" in shown, written
        assert not [part for part in secret.split() if len(part) > 4 and part in shown], written


def test_a_short_secret_goes_as_a_word() -> None:
    keep("tea")
    assert redact("login tea failed, my team steals") == "login *** failed, my team steals"


def test_a_learned_address_takes_its_header_and_its_pieces_along() -> None:
    learn("postgresql://me:hunter@pass:word@db/x")
    header = base64.b64encode(b"me:hunter@pass:word").decode()
    for said in (
        header,
        "invalid literal for int(): 'word@db'",
        "password hunter@pass:word",
    ):
        shown = redact(said)
        assert not [secret for secret in (header, "hunter", "word@") if secret in shown]


def test_a_webhook_is_secret_as_a_whole() -> None:
    learn("https://chat.example/hooks/T0/x8fQ2hhw91", whole=True)
    assert redact("POST chat.example/hooks/T0/x8fQ2hhw91") == "POST ***"
    assert redact("path /x8fQ2hhw91 of the hooks of chat.example") == (
        "path /*** of the hooks of chat.example"
    )


def test_an_error_holds_no_secret() -> None:
    keep("hunter2hunter2")
    error = InputError(
        "got 'http://me:pass@h'", where="a hunter2hunter2", remedy="ask https://x/?token=abc"
    )
    assert str(error) == "a ***: got 'http://***@h'. ask https://x/?token=***"
    assert "pass" not in repr(error)


_PROGRAM = """
import logging, sys, warnings
from penstock.redaction import learn
early = logging.StreamHandler(sys.stderr)
logging.getLogger("early").addHandler(early)
learn("http://me:MARKED-password@127.0.0.1:9")
print("printed MARKED-password")
sys.stdout.write("written http://me:MARKED-password@127.0.0.1:9\\n")
logging.getLogger("early").warning("logged %s", "MARKED-password")
try:
    raise ValueError("caught MARKED-password")
except ValueError:
    logging.getLogger("early").exception("failed")
warnings.warn("warned MARKED-password")
raise RuntimeError("raised MARKED-password\\nin two lines MARKED-password")
"""


def test_nothing_that_a_process_prints_or_logs_holds_what_it_has_learned(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False
    )
    text = done.stdout + done.stderr
    for word in ("printed", "written", "logged", "caught", "warned", "raised", "in two lines"):
        assert word in text
    # Python quotes the line of the program itself; nothing else of it may be left.
    assert "MARKED" not in text
