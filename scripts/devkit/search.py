"""Looks for a secret in every spelling in which it could hide."""

import base64
import json
import pathlib
import urllib.parse


def forms(secret):
    """The spellings, by name, as bytes."""
    raw = secret.encode()
    percent = "".join(f"%{byte:02x}" for byte in raw)
    spellings = {
        "as it is": raw,
        "reversed": raw[::-1],
        "hexadecimal": raw.hex().encode(),
        "percent-encoded": percent.encode(),
        "URL-quoted": urllib.parse.quote(secret, safe="").encode(),
        "JSON": json.dumps(secret)[1:-1].encode(),
        "JSON, all escaped": "".join(f"\\u{byte:04x}" for byte in raw).encode(),
        "UTF-16": secret.encode("utf-16-le"),
    }
    # Base64 has three spellings, by the secret's place in the text; the ends depend on neighbours.
    for offset in range(3):
        padded = bytes(offset) + raw
        first, last = -(-offset * 8 // 6), len(padded) * 8 // 6
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            spellings[f"{name}, shifted by {offset}"] = encode(padded)[first:last]
    # Some spell this secret alike.
    return {name: spelling for spelling, name in {s: n for n, s in spellings.items()}.items()}


def hits(places, secret_values):
    """`places` maps a name to bytes; gives (where, form) of everything found."""
    # Hexadecimal and percent are written in either case.
    lowered = {where: content.lower() for where, content in places.items()}
    return [
        (where, form)
        for secret in secret_values
        for form, spelling in forms(secret).items()
        for where, content in lowered.items()
        if spelling.lower() in content
    ]


def files(*folders):
    """All files below `folders`, by path."""
    contents = {}
    for folder in folders:
        for path in pathlib.Path(folder).rglob("*"):
            if path.is_file() and "plugins" not in path.parts:
                contents[str(path)] = path.read_bytes()
    return contents
