"""The line that says why, in what real programs print when they fail."""

from __future__ import annotations

import pytest

from orienter_tasks.stack.reasons import reason

NODE = """
file:///app/throw.mjs:1
throw new Error("boop")
      ^

Error: boop
    at file:///app/throw.mjs:1:7
    at ModuleJob.run (node:internal/modules/esm/module_job:325:25)
    at async asyncRunEntryPointWithESMLoader (node:internal/modules/run_main:117:5)

Node.js v20.20.2
"""
NODE_EVENT = """
node:events:502
      throw er; // Unhandled 'error' event
      ^

Error: listen EADDRINUSE: address already in use :::4098
    at Server.setupListenHandle [as _listen2] (node:net:1817:16)
Emitted 'error' event on Server instance at:
    at GetAddrInfoReqWrap.doListen [as callback] (node:net:2136:12) {
  code: 'EADDRINUSE',
  errno: -98,
  syscall: 'listen',
  address: '::',
  port: 4098
}

Node.js v20.20.2
"""
NODE_CAUSE = """
Error: outer
    at Object.<anonymous> (/app/cause.js:1:7)
    ... 4 lines matching cause stack trace ...
    at node:internal/main/run_main_module:28:49 {
  [cause]: Error: inner
      at Object.<anonymous> (/app/cause.js:1:34)
      at node:internal/main/run_main_module:28:49
}

Node.js v20.20.2
"""
TSX = """
node:internal/modules/run_main:123
    triggerUncaughtException(
    ^

Error: Transform failed with 1 error:
/app/src/bad.ts:1:6: ERROR: Expected identifier but found "="
    at failureErrorWithLog (/app/node_modules/esbuild/lib/main.js:1752:15)
    at responseCallbacks.<computed> (/app/node_modules/esbuild/lib/main.js:886:9)
    at Pipe.onStreamRead (node:internal/stream_base_commons:191:23) {
  name: 'TransformError'
}

Node.js v20.20.2
"""
TSX_MODULE = """
node:internal/modules/cjs/loader:1207
  const err = new Error(message);
              ^

Error: Cannot find module 'nothing-here'
Require stack:
- /app/src/nomod.ts
    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)
    at j._resolveFilename (file:///app/node_modules/tsx/dist/register-nyXW-TH3.mjs:2:18825) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/app/src/nomod.ts' ]
}

Node.js v20.20.2
"""
VITE = """
failed to load config from /app/vite.config.js
error when starting dev server:
Error: Build failed with 1 error:

\x1b[31m[PARSE_ERROR] \x1b[0mExpected `}` but found `EOF`
   \x1b[38;5;246m╭\x1b[0m\x1b[38;5;246m─\x1b[0m\x1b[38;5;246m[\x1b[0m vite.config.js:1:250 \x1b[38;5;246m]\x1b[0m
 \x1b[38;5;246m1 │\x1b[0m const error = {
 \x1b[38;5;240m  │\x1b[0m              ╰─ `}` expected
\x1b[38;5;246m───╯\x1b[0m

    at aggregateBindingErrorsIntoJsError (file:///app/node_modules/rolldown/dist/shared/error-CLo6EJKG.mjs:50:18)
    at async CAC.<anonymous> (file:///app/node_modules/vite/dist/node/cli.js:721:18) {
  errors: [Getter/Setter]
}
"""
PYTHON = """
Traceback (most recent call last):
  File "/app/t.py", line 4, in f
    {}["error"]
    ~~^^^^^^^^^
KeyError: 'error'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/t.py", line 7, in <module>
    f()
  File "/app/t.py", line 6, in f
    raise Odd("an error") from e
Odd: no row was found
"""
GO = """
panic: boop

goroutine 1 [running]:
main.main()
\t/app/main.go:4 +0x27
exit status 2
"""
GO_LISTEN = """
2026/01/01 00:00:00 listen tcp 127.0.0.1:4098: bind: address already in use
exit status 1
"""
RUNNERS = {
    "nodemon": "\x1b[31m[nodemon] app crashed - waiting for file changes before starting...\x1b[39m\n",
    "node --watch": "Failed running 'throw.mjs'\n",
    "npm": "npm error Lifecycle script `dev` failed with error:\nnpm error code 1\nnpm error path /app\n"
    "npm error command failed\nnpm error command sh -c node throw.mjs\n",
    "pnpm": "\u2009ELIFECYCLE\u2009 Command failed with exit code 1.\n",
    "yarn": "error Command failed with exit code 1.\n",
    "turbo": " ERROR  run failed: command  exited (1)\n",
}


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (NODE, "Error: boop"),
        (NODE_EVENT, "Error: listen EADDRINUSE: address already in use :::4098"),
        (NODE_CAUSE, "[cause]: Error: inner"),
        (TSX, '/app/src/bad.ts:1:6: ERROR: Expected identifier but found "="'),
        (TSX_MODULE, "Error: Cannot find module 'nothing-here'"),
        (VITE, "[PARSE_ERROR] Expected `}` but found `EOF`"),
        (PYTHON, "Odd: no row was found"),
        ("Traceback (most recent call last):\n  File '<string>', line 1\nAssertionError\n", "AssertionError"),
        (GO, "panic: boop"),
        (GO_LISTEN, "2026/01/01 00:00:00 listen tcp 127.0.0.1:4098: bind: address already in use"),
        ('npm error Missing script: "dev"\nnpm error\nnpm error To see a list of scripts, run:\nnpm error   npm run\n',
         'npm error Missing script: "dev"'),
        ('{"level":50,"msg":"boop"}\n{"level":30,"msg":"bye"}\n', '{"level":50,"msg":"boop"}'),
    ],
    ids=["node", "event", "cause", "tsx", "module", "vite", "python", "bare", "go", "go bind", "npm", "pino"],
)  # fmt: skip
def test_of_real_programs(log: str, line: str) -> None:
    assert reason(log.split("\n")) == line


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_a_runner_says_afterwards_is_not_it(runner: str) -> None:
    assert reason((NODE + RUNNERS[runner]).split("\n")) == "Error: boop"


def test_prefixes_of_runners_are_left_out() -> None:
    log = [f"@orient/dashboard:dev: {line}" for line in NODE.split("\n")]
    assert reason(log) == "Error: boop"


def test_without_an_error_it_is_the_last_line_with_words() -> None:
    assert reason(["Found 0 errors. Watching for file changes.", "all fine", "", "   "]) == "all fine"
    assert reason(["told to end"]) == "told to end"
    assert reason([]) == ""


def test_a_long_line_is_cut_and_control_codes_are_gone() -> None:
    found = reason(["\x1b[31mError: \x1b[0m" + "x" * 1000])
    assert found == "Error: " + "x" * 193
