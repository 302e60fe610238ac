"""A stand-in for curl on machines that have none: the few options that we document.

`on_path` gives a PATH where `curl` means curl if it is installed, else this file.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import httpx

# curl's own exit codes.
NO_CONNECTION, HTTP_ERROR, CUT_SHORT = 7, 22, 18


def on_path(folder: Path) -> str:
    """A PATH that has a `curl`; `folder` is for the stand-in, if there must be one."""
    path = os.environ.get("PATH", os.defpath)
    return path if shutil.which("curl") else f"{stand_in(folder)}:{path}"


def stand_in(folder: Path) -> Path:
    """Put a `curl` that is this file into a folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "curl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    script.chmod(0o755)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-X", "--request", dest="method")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("-s", "--silent", action="store_true")  # we always are
    parser.add_argument("-N", "--no-buffer", action="store_true")  # likewise
    asked = parser.parse_args()

    headers = [tuple(field.split(": ", 1)) for field in asked.header]
    method = asked.method or ("GET" if asked.data is None else "POST")
    url = asked.url if "://" in asked.url else f"http://{asked.url}"
    try:
        with httpx.stream(
            method, url, headers=headers, content=asked.data, timeout=30
        ) as response:
            if asked.fail and response.is_error:
                return HTTP_ERROR
            out = sys.stdout.buffer
            if asked.include:
                out.write(b"HTTP/1.1 %d \r\n" % response.status_code)
                out.writelines(b"%s: %s\r\n" % field for field in response.headers.raw)
                out.write(b"\r\n")
            for piece in response.iter_bytes():
                out.write(piece)
                out.flush()
    except httpx.ConnectError:
        return NO_CONNECTION
    except httpx.RemoteProtocolError:
        return CUT_SHORT
    return 0


if __name__ == "__main__":
    sys.exit(main())
