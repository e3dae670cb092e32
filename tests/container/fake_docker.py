"""A docker that writes its arguments to FAKE_LOG, one JSON list a line, and answers from FAKE_ANSWERS.

Keys: `engine` (false: it does not answer), `image`, `container` (true: it is there), `check` (exit code of `run
--check`), `unwritable`, `unreadable` (paths in the container), `logs`, `restarts`, `exit_code`, `running`.
"""

import json
import os
import sys
from pathlib import Path

answers = json.loads(os.environ["FAKE_ANSWERS"])
arguments = sys.argv[1:]


def note(line):
    with Path(os.environ["FAKE_LOG"]).open("a") as log:
        log.write(json.dumps(line) + "\n")


note(arguments)


def end(code=0, out="", err=""):
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(code)


match arguments:
    case ["version", *_]:
        if answers.get("engine") is False:
            end(1, err="Cannot connect to the Docker daemon. Is the docker daemon running?\n")
        end(out="28.0\n")
    case ["image", "inspect", *_]:
        end(0 if answers.get("image") else 1)
    case ["container", "inspect", "--format", form, *_]:
        key = {"RestartCount": "restarts", "ExitCode": "exit_code", "Running": "running"}
        name = next(known for word, known in key.items() if word in form)
        end(out=f"{json.dumps(answers.get(name, 0))}\n")
    case ["container", "inspect", *_]:
        end(0 if answers.get("container") else 1)
    case ["logs", *_]:
        end(out=answers.get("logs", "[14:12:45] (0.00s) | BTC/USDT | epoch: 1768054365\n"))
    case ["run", *rest] if "dotenv" in rest:
        # As python-dotenv gives it: comments and quotes are gone.
        for line in sys.stdin.read().splitlines():
            if line.strip() and not line.startswith("#"):
                key, _, value = line.partition("=")
                value = value.split(" #")[0].strip().strip('"')
                sys.stdout.write(f"{key}={value}\n")
        end()
    case ["run", *rest] if "--check" in rest:
        code = answers.get("check", 0)
        end(code, err="collector: No such option '--stepz'.\n" if code else "")
    case ["run", *rest] if "--entrypoint" in rest:
        end(
            int(rest[-1] in answers.get("unreadable", []) or (rest[-1] == "/data" and answers.get("unwritable", False)))
        )
    case ["run", *rest] if "--env-file" in rest:
        note(["env-file", *Path(rest[rest.index("--env-file") + 1]).read_text().split("\n")])
