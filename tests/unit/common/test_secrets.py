"""References to secrets: how they are written, where they are read, and what takes none."""

from __future__ import annotations

import base64
import http.server
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from running_process import served

from penstock import project as projects
from penstock.common.secrets import READ_IN, keep_environment, resolve, shown
from penstock.errors import InputError
from penstock.pipelines.compile import compile_release
from penstock.pipelines.init import write_project
from penstock.pipelines.secret_fields import clear_secrets, lent, unsupplied
from penstock.pipelines.submit import package
from penstock.project import Project
from penstock.records.spec import Spec
from penstock.redaction import redact

MARK = "MARKED"


def made(**fields: Any) -> Project:
    given: dict[str, Any] = {"name": "loans", "target": "paid", "source": {"uri": "s3://b/t.csv"}}
    return Project.parse(given | fields, where="project.yaml")


def test_a_secret_is_encoded_where_an_address_needs_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a&b=c\n")
    environment = {"PW": "p@ss/w:rd", "HOOK": "T0/B0/x", "ALL": "https://h/a?b=c"}
    for text, wanted in {
        "mysql://me:${env:PW}@db/x": "mysql://me:p%40ss%2Fw%3Ard@db/x",
        f"https://h/t.csv?sig=${{file:{file}}}&n=1": "https://h/t.csv?sig=a%26b%3Dc&n=1",
        "https://hooks.slack.com/services/${env:HOOK}": "https://hooks.slack.com/services/T0/B0/x",
        "${env:ALL}": "https://h/a?b=c",
        "select '${env:PW}'": "select 'p@ss/w:rd'",
        "no reference, ${HOME} and $5": "no reference, ${HOME} and $5",
    }.items():
        assert resolve(text, environment=environment) == wanted
    assert redact("it says p@ss/w:rd and p%40ss%2fw%3ard") == "it says *** and ***"


def test_a_reference_to_a_secret_of_kubernetes_is_a_variable() -> None:
    environment = {"PENSTOCK_SECRET_LOANS_DB__PASSWORD": "x1x1x1"}
    found = resolve("mysql://me:${secret:loans-db/password}@db", environment=environment)
    assert found == "mysql://me:x1x1x1@db"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${env:NOT_SET}", "source.uri: the environment variable NOT_SET is not set"),
        ("${file:/no/such/file}", "cannot be read: No such file or directory"),
        ("${file:relative}", "Write an absolute path"),
        ("${env:1}", "Write the name of an environment variable"),
        ("${secret:nokey}", "Write a Secret's name and a key of it"),
        ("${secret:a/b}", "export PENSTOCK_SECRET_A__B="),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(text, where="source.uri", environment={})
    assert said in str(caught.value)


def test_what_is_written_of_an_address_is_where_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOANS", "postgresql://me:hunter2@db/loans")
    assert shown("${env:LOANS}") == "postgresql://***@db/loans"


def test_variables_that_are_called_like_a_secret_are_kept(tmp_path: Path) -> None:
    key = tmp_path / "signing-key.pem"
    key.touch()
    keep_environment(
        {
            "MLFLOW_TRACKING_PASSWORD": "hunter2hunter2",
            "PENSTOCK_SIGNING_KEY": str(key),
            "PENSTOCK_SECRET_TRACKING_URI": "http://me:hunter3hunter3@mlflow:5000",
            "USE_AUTH": "true",
        }
    )
    said = f"hunter2hunter2, {key}, true, http://mlflow:5000/x, hunter3hunter3"
    assert redact(said) == f"***, {key}, true, http://mlflow:5000/x, ***"


# Every settable field, whatever fields there will be.


def planted(kind: type[Spec], at: str, seen: dict[str, str]) -> Spec:
    """Return a section whose every text, also in lists and mappings, holds a secret."""
    values = {
        name: _plant(field.annotation, f"{at}.{name}" if at else name, seen)
        for name, field in kind.model_fields.items()
    }
    given = {
        name: value
        for name, value in values.items()
        if value is not None or kind.model_fields[name].is_required()
    }
    return kind.model_construct(**given)


def _plant(kind: Any, at: str, seen: dict[str, str]) -> Any:
    arguments = [one for one in get_args(kind) if one is not type(None)]
    if isinstance(kind, type) and issubclass(kind, Spec):
        return planted(kind, at, seen)
    if get_origin(kind) is dict:
        return {"key": value} if (value := _plant(arguments[1], f"{at}.key", seen)) else None
    if get_origin(kind) in (tuple, list):
        inner = _plant(arguments[0], f"{at}[0]", seen)
        return None if inner is None else (inner,)
    if kind in (str, Any) or _is_text(kind):
        seen[at] = f"postgresql://me:{MARK}{len(seen)}@db/x"
        return seen[at]
    for one in arguments:
        if (value := _plant(one, at, seen)) is not None:
            return value
    return None


def _is_text(kind: Any) -> bool:
    return hasattr(kind, "__metadata__") and get_args(kind)[0] is str


def test_every_field_is_looked_at_and_refused_by_its_name(tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    project = planted(Project, "", seen)
    assert len(seen) > 70
    assert {*READ_IN, "cluster.environment.key", "card.contact"} <= set(seen)
    assert {one.field for one in clear_secrets(project)} == set(seen)
    with pytest.raises(InputError) as caught:
        compile_release(project, output=tmp_path / "a.yaml")
    for field in seen:
        assert f"{field} holds" in str(caught.value)
    assert MARK not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_error_about_a_project_quotes_a_secret_of_it(tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    raw = planted(Project, "", seen).model_dump(mode="json", warnings=False)
    file = tmp_path / "project.yaml"
    file.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError) as caught:
        projects.load(file)
    assert "name:" in str(caught.value)
    assert MARK not in str(caught.value)
    for section in ("source", "notify", "cluster", "deployment"):
        with pytest.raises(InputError) as caught:
            made(**{section: {**raw[section], "no_such_field": f"x {MARK}"}})
        assert MARK not in str(caught.value).replace(f"x {MARK}", "")


def test_a_file_that_is_no_yaml_is_told_without_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(f"source:\n  uri: 'postgresql://me:{MARK * 20}@db/x'\n  'y: ]\n")
    with pytest.raises(InputError, match=r"not valid YAML: .*\(line \d, column \d+\)") as caught:
        projects.load(file)
    assert MARK not in str(caught.value)


SECRETS = {
    "a password": {"source": {"uri": f"mysql://me:{MARK}@db/x", "query": "select 1"}},
    "a token": {"source": {"uri": f"https://{MARK}@host/t.csv"}},
    "the secret sig": {"source": {"uri": f"https://h/t.csv?sv=1&sig={MARK}"}},
    "the secret X-Amz-Signature": {"source": {"uri": f"https://h/t.csv?X-Amz-Signature={MARK}"}},
    "a password or key": {
        "source": {"uri": "duckdb:///", "query": f"ATTACH 'host=h password={MARK}'"}
    },
    "the address of a webhook": {"notify": {"webhook": f"https://chat.example/hooks/{MARK}"}},
    "a secret": {"cluster": {"environment": {"AWS_SECRET_ACCESS_KEY": MARK}}},
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_in_clear_is_not_compiled(tmp_path: Path, what: str) -> None:
    project = made(**SECRETS[what])
    with pytest.raises(InputError) as caught:
        compile_release(project, output=tmp_path / "release.yaml")
    assert f"holds {what} in clear" in str(caught.value)
    assert MARK not in str(caught.value)
    if what != "a secret":
        assert "${env:PENSTOCK_" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_the_refusal_proposes_is_compiled_and_leads_to_the_same(tmp_path: Path) -> None:
    project = made(source={"uri": "https://me:p%40ss@h/t.csv?token=t0k&n=1"})
    (found,) = clear_secrets(project)
    environment = {"PENSTOCK_SOURCE_URI_PASSWORD": "p@ss", "PENSTOCK_SOURCE_URI_TOKEN": "t0k"}
    assert set(found.names) == set(environment)
    assert resolve(found.instead, environment=environment) == project.source.uri
    compile_release(made(source={"uri": found.instead}), output=tmp_path / "release.yaml")


@pytest.mark.parametrize(
    "fields",
    [
        {"source": {"uri": "postgresql://reader@db/x", "query": "select token from t"}},
        {"source": {"uri": "abfss://container@account.dfs.core.windows.net/t.parquet"}},
        {"notify": {"webhook": "https://hooks.slack.com/services/${env:SLACK}"}},
        {"notify": {"webhook": "http://alerts.internal:8080"}},
        {"features": {"columns": {"password": "category", "api_key": "drop"}}},
        {"source": {"uri": "s3://b/t.csv", "types": {"token": "string"}}},
        {"cluster": {"environment": {"KF_TOKEN_PATH": "/var/token", "TZ": "UTC"}}},
    ],
)
def test_what_is_no_secret_is_compiled(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert clear_secrets(made(**fields)) == []


def test_a_reference_where_none_is_read_is_refused() -> None:
    with pytest.raises(InputError, match=r"card\.contact holds a reference.*source\.uri") as caught:
        made(card={"contact": "ask ${env:ME}"})
    assert "tracking_uri" in str(caught.value)


def test_a_compiled_pipeline_gives_its_steps_the_secrets_that_they_read(tmp_path: Path) -> None:
    project = made(
        source={"uri": "mysql://me:${secret:loans-db/password}@db/x", "query": "select 1"},
        tracking_uri="https://me:${secret:mlflow/pw}@mlflow",
        notify={"webhook": "${secret:chat/url}"},
    )
    compile_release(project, output=tmp_path / "release.yaml")
    spec, platform = yaml.safe_load_all((tmp_path / "release.yaml").read_text())
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs["uri"]["defaultValue"] == project.source.uri
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    given = {
        name.removeprefix("exec-"): sorted(
            (one["secretName"], pair["secretKey"], pair["envVar"])
            for one in executor.get("secretAsEnv", ())
            for pair in one["keyToEnv"]
        )
        for name, executor in executors.items()
    }
    store = [("mlflow", "pw", "PENSTOCK_SECRET_MLFLOW__PW")]
    chat = [("chat", "url", "PENSTOCK_SECRET_CHAT__URL")]
    assert {name: keys for name, keys in given.items() if keys} == {
        "ingest": [("loans-db", "password", "PENSTOCK_SECRET_LOANS_DB__PASSWORD")],
        # The tasks that end a run without a release share one executor.
        **dict.fromkeys(("train", "evaluate", "register", "data-refused"), store),
        **dict.fromkeys(("approve", "deploy", "notify"), chat + store),
    }


def test_a_variable_that_nothing_sets_is_told() -> None:
    source = {"uri": "mysql://me:${env:PW}@db/x?key=${file:/secrets/key}", "query": "select 1"}
    assert unsupplied(made(source=source)) == [
        "source.uri: nothing in cluster.secrets sets PW",
        "source.uri: nothing in cluster.secrets mounts /secrets/key",
    ]
    given = [
        {"name": "a", "environment": {"k": "PW"}},
        {"name": "b", "mount_path": "/secrets"},
    ]
    assert unsupplied(made(source=source, cluster={"secrets": given})) == []


def test_a_parameter_of_a_submission_holds_no_secret_either() -> None:
    with pytest.raises(InputError, match="--parameter: tracking_uri holds a password") as caught:
        package(made(), parameters=[f"tracking_uri=http://me:{MARK}@h"])
    assert MARK not in str(caught.value)
    made_package = package(made(), parameters=["tracking_uri=http://me:${env:PW}@h"])
    assert made_package.arguments["tracking_uri"] == "http://me:${env:PW}@h"


class _Closed(http.server.BaseHTTPRequestHandler):
    """Serves a table to who shows a password."""

    def do_GET(self) -> None:
        shown = base64.b64encode(b"me:p@ss/word").decode()
        good = self.headers.get("authorization") == f"Basic {shown}"
        body = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(60))
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def test_init_writes_a_reference_instead_of_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(http.server.HTTPServer(("127.0.0.1", 0), _Closed)) as server:
        address = f"127.0.0.1:{server.server_port}/t.csv?token=t0ken-t0ken"
        write_project(
            f"http://me:p%40ss%2Fword@{address}", target="b", output=tmp_path / "project.yaml"
        )
    text = (tmp_path / "project.yaml").read_text()
    printed = capsys.readouterr().out
    for secret in ("ss%2Fword", "ss/word", "t0ken"):
        assert secret not in text + printed
    uri = projects.load(tmp_path / "project.yaml").source.uri
    named = {
        "PENSTOCK_SOURCE_URI_PASSWORD": "p@ss/word",
        "PENSTOCK_SOURCE_URI_TOKEN": "t0ken-t0ken",
    }
    assert resolve(uri, environment=named) == f"http://me:p%40ss%2Fword@{address}"
    assert all(f"export {name}=" in printed for name in named)


def test_a_run_here_is_lent_references_and_refuses_what_it_would_write_down() -> None:
    project = made(source={"uri": f"mysql://me:{MARK}@db/x", "query": "select 1"})
    referring, environment = lent(project)
    assert referring.source.uri == "${env:PENSTOCK_SECRET_SOURCE_URI}"
    assert environment == {"PENSTOCK_SECRET_SOURCE_URI": project.source.uri}
    with pytest.raises(InputError, match=r"card\.contact holds a password in clear.*take it out"):
        lent(made(card={"contact": f"https://me:{MARK}@h"}))
