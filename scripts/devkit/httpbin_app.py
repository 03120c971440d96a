"""httpbin, with a bearer token demanded at the door and a record of every request."""

import json
import logging
import os

# httpbin warns about an optional web page that nobody looks at here.
logging.disable(logging.WARNING)

from httpbin import app as httpbin  # noqa: E402


def application(environ, start_response):
    headers = {
        name[5:].replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    target = environ.get("RAW_URI", environ["PATH_INFO"])
    entry = {"method": environ["REQUEST_METHOD"], "target": target, "headers": headers}
    with open(os.environ["RECORD_FILE"], "a") as record:
        record.write(json.dumps(entry) + "\n")
    with open(os.environ["TOKEN_FILE"]) as file:
        demanded = f"Bearer {file.read()}"
    if headers.get("Authorization") != demanded:
        start_response("401 Unauthorized", [("Content-Type", "text/plain")])
        return [b"a valid token is required\n"]
    return httpbin(environ, start_response)
