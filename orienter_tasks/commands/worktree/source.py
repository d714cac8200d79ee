"""What a new worktree checks out, and whether that is the user's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import CheckError, ConfigError, ConflictError, NotFoundError
from orienter_tasks.machine.git import WITHOUT_HOOKS, ask, git

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PULL_REQUEST = re.compile(r"(?:^|/)(?:pull|pull-requests|merge-requests|changes)/[0-9]")
"""In the name of a ref: how GitHub, Bitbucket, GitLab and Gerrit publish what anybody proposes."""
NOT_CHECKED_OUT = ("-c", "submodule.recurse=false", "-c", "core.fsmonitor=false", *WITHOUT_HOOKS)


class Source(msgspec.Struct, frozen=True):
    """What a worktree begins with.

    Attributes:
        commit: its id.
        branch: what is checked out; "" for none.
        made: whether that branch is made with the worktree.
        upstream: the remote branch that it then follows.
        trusted: whether what is checked out is the user's own, or was declared to be.
        words: what it is, for people.
    """

    commit: str
    branch: str
    made: bool
    upstream: str
    trusted: bool
    words: str

    def add(self, path: Path) -> list[str]:
        """Return git's command that makes the worktree."""
        if not self.branch:
            how, what = ["--detach"], self.commit
        elif self.made:
            how = ["--track" if self.upstream else "--no-track", "-b", self.branch]
            what = self.upstream or self.commit
        else:
            how, what = [], self.branch
        return [*(() if self.trusted else NOT_CHECKED_OUT), "worktree", "add", *how, str(path), what]


def resolve(root: Path, name: str, base: str, *, branch: bool, trust: bool) -> tuple[str, Source]:
    """Find out what a name and a base stand for; return the worktree's name, and what it begins with.

    Raises:
        ConfigError: no branch can have this name, or it cannot be used with this base.
        NotFoundError: the commit does not exist.
        ConflictError: the branch exists, or several remotes have it.
    """
    remotes = ask(root, "remote").splitlines()
    remote = next((each for each in remotes if name.startswith(f"{each}/")), "")
    if branch and not base and remote and _commit(root, f"refs/remotes/{name}"):
        name = name.removeprefix(f"{remote}/")
    else:
        remote = ""
    _require_name(root, name)
    if branch and (commit := _commit(root, f"refs/heads/{name}")):
        if base:
            hint = f"leave --base out to check it out, or choose another name than {name}"
            raise ConflictError(f"the branch {name} exists already", hint=hint)
        own = trust or _is_own(root, f"refs/heads/{name}", commit, remotes)
        return name, Source(commit, name, made=False, upstream="", trusted=own, words=f"branch {name}")
    if branch and not base:
        remote = remote or _remote_of(root, name, remotes)
        if remote:
            ref = f"refs/remotes/{remote}/{name}"
            commit, words = _commit(root, ref), f"{remote}/{name}"
            own = trust or _is_own(root, ref, commit, remotes)
            made = Source(commit, name, made=True, upstream=words, trusted=own, words=words)
            return name, made if own else _detached(made)
    commit, ref = _base(root, base or "HEAD", remotes)
    own = trust or _is_own(root, ref, commit, remotes)
    words = base or ask(root, "symbolic-ref", "--short", "HEAD") or commit[:9]
    made = Source(commit, name, made=True, upstream="", trusted=own, words=words)
    return name, made if branch and own else _detached(made)


def _detached(source: Source) -> Source:
    """Without a branch of its own: a later command would take that for the user's work."""
    return msgspec.structs.replace(source, branch="", made=False, upstream="")


def _require_name(root: Path, name: str) -> None:
    said = "a branch's name has no spaces, control characters or any of ~^:?*[\\ and does not begin with '-'"
    try:
        valid = bool(name.encode()) and not name.startswith("-") and name not in ("HEAD", "@")
        git(root, "check-ref-format", f"refs/heads/{name}" if valid else "")
    except (CheckError, UnicodeEncodeError, ValueError) as error:
        raise ConfigError(f"{name!r} cannot be the name of a worktree", hint=said) from error


def _remote_of(root: Path, name: str, remotes: Sequence[str]) -> str:
    """Return the remote that has a branch of this name; "" if none has."""
    found = [remote for remote in remotes if _commit(root, f"refs/remotes/{remote}/{name}")]
    if len(found) > 1 and "origin" not in found:
        which = ", ".join(f"{remote}/{name}" for remote in found)
        raise ConflictError(
            f"several remotes have a branch {name}: {which}", hint=f"inv worktree.new {found[0]}/{name}"
        )
    return "origin" if "origin" in found else next(iter(found), "")


def _base(root: Path, base: str, remotes: Sequence[str]) -> tuple[str, str]:
    """Return the commit and the full name of the ref that a base stands for; a pull request's is fetched."""
    if PULL_REQUEST.search(base) and not _commit(root, f"refs/heads/{base}") and not _commit(root, base):
        return _fetched(root, base, remotes), base
    commit = "" if base.startswith("-") else _commit(root, base)
    if not commit:
        raise NotFoundError(f"{base!r} is not a commit of this repository", hint="git fetch, then run this again")
    return commit, ask(root, "rev-parse", "--symbolic-full-name", base) or base


def _fetched(root: Path, base: str, remotes: Sequence[str]) -> str:
    ref = base if base.startswith("refs/") else f"refs/{base}"
    ref = f"{ref}/head" if re.search(r"/pull/[0-9]+$", ref) else ref
    remote = _own_remote(remotes)
    if not remote:
        raise NotFoundError(f"{base!r} is not a commit of this repository, which has no remote to ask")
    answer = git(root, "ls-remote", "--", remote, ref).split()
    if not answer:
        raise NotFoundError(f"{remote} has no {ref}")
    git(root, *WITHOUT_HOOKS, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--", remote, ref)
    return answer[0]


def _is_own(root: Path, ref: str, commit: str, remotes: Sequence[str]) -> bool:
    """Whether a commit is in a branch of the user's, or of the remote that is theirs."""
    remote = _own_remote(remotes)
    if PULL_REQUEST.search(ref) and not ref.startswith("refs/heads/"):
        return False
    listed = ask(root, "config", "--get-regexp", r"^branch\..*\.(merge|remote)$")
    proposed = {
        f"refs/heads/{key.split('.', 1)[1].rpartition('.')[0]}"
        for key, _, value in (line.partition(" ") for line in listed.splitlines())
        if PULL_REQUEST.search(value) or (key.endswith(".remote") and value not in (*remotes, "."))
    }
    places = ["refs/heads/", *([f"refs/remotes/{remote}/"] if remote else [])]

    def is_theirs(name: str) -> bool:
        is_head = name.startswith("refs/heads/")
        return name.startswith(tuple(places)) and name not in proposed and (is_head or not PULL_REQUEST.search(name))

    if is_theirs(ref):
        return True
    if ref in proposed:
        return False
    holding = git(root, "for-each-ref", "--contains", commit, "--format=%(refname)", *places)
    return any(map(is_theirs, holding.splitlines()))


def _own_remote(remotes: Sequence[str]) -> str:
    return "origin" if "origin" in remotes else remotes[0] if len(remotes) == 1 else ""


def _commit(root: Path, ref: str) -> str:
    return ask(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
