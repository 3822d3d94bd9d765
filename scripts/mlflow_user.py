"""Make MLflow's user for pipelines, or set its password: run inside MLflow's pod by cluster-up.

Name and password are two lines of standard input; the administrator's are in the environment.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request

SERVER = os.environ.get("MLFLOW_SERVER_URL", "http://127.0.0.1:5000")


def call(method: str, path: str, body: dict[str, str]) -> int:
    """Send a request as the administrator; return the status."""
    names = ("MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD")
    administrator = base64.b64encode(":".join(os.environ[name] for name in names).encode()).decode()
    request = urllib.request.Request(  # noqa: S310
        f"{SERVER}/api/2.0/mlflow/users/{path}",
        data=json.dumps(body).encode(),
        method=method,
        headers={"content-type": "application/json", "authorization": f"Basic {administrator}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def main() -> int:
    """Make the user; a user that is there gets the password."""
    user = dict(zip(("username", "password"), sys.stdin.read().split(), strict=True))
    status = call("POST", "create", user)
    if status == 400:
        # The user is there: MLflow answers RESOURCE_ALREADY_EXISTS.
        status = call("PATCH", "update-password", user)
    if status != 200:
        print(f"MLflow answered {status} to the query for the user {user['username']}.")
        return 1
    print(f"MLflow has the user {user['username']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
