"""The structure that ARCHITECTURE.md describes, held against every import of the package."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import orienter_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TESTS = Path(__file__).parent
PACKAGE = Path(orienter_tasks.__file__).parent
NAME = PACKAGE.name
LAYERS = (
    *("errors", "machine", "settings", "instance", "identity", "processes", "stack", "output"),
    *("data", "backends", "infra", "services", "observe", "lifecycle", "commands", "tasks"),
)
"""The order of ARCHITECTURE.md, from the bottom up: a layer imports only from itself and from those before it."""
ONLY = {"invoke": "tasks", "docker": "backends.docker", "jinja2": "backends.templates"}


@functools.cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the package, by its name without the package's."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> Iterator[str]:
    """Name every module that a module may import, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def edges() -> Mapping[str, frozenset[str]]:
    """The modules of the package that each of them imports."""
    found = {}
    for name, tree in modules().items():
        own = {imported.removeprefix(f"{NAME}.") for imported in imports(tree) if imported.startswith(f"{NAME}.")}
        used = {module for module in own if module in modules() and module != name}
        # `from folder import module` is an import of the module, not of all that the folder's own module imports
        found[name] = frozenset(each for each in used if not any(other.startswith(f"{each}.") for other in used))
    return found


def layer(module: str) -> int:
    """The place of a module's layer in the order; the root module stands above all."""
    return LAYERS.index(module.partition(".")[0]) if module else len(LAYERS)


def cycle(graph: Mapping[str, frozenset[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_folder_is_a_layer() -> None:
    assert {module.partition(".")[0] for module in modules() if module} == set(LAYERS)


def test_the_page_lists_the_layers_in_this_order() -> None:
    page = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = [word for line in page.splitlines() if line.startswith("| `") for word in [line.split("`")[1].rstrip("/")]]
    assert [name.removesuffix(".py") for name in listed if name.removesuffix(".py") in LAYERS] == list(LAYERS[::-1])


def test_imports_point_downward_only() -> None:
    upward = [(name, other) for name, used in edges().items() for other in used if layer(other) > layer(name)]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    # a package's own module is imported with each of its modules, and imports what it likes of them
    assert cycle({name: used for name, used in edges().items() if name}) == []


@pytest.mark.parametrize("parent", ["", "backends.", "commands."])
def test_no_folders_import_each_other_in_a_circle(parent: str) -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, used in edges().items():
        for other in used:
            if name.startswith(parent) and other.startswith(parent):
                one, two = (module.removeprefix(parent).partition(".")[0] for module in (name, other))
                graph[one] |= {two} - {one}
    assert cycle({name: frozenset(used) for name, used in graph.items()}) == []


def test_few_modules_stand_in_the_root() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 3


@pytest.mark.parametrize(("library", "home"), ONLY.items())
def test_a_library_is_known_in_one_place(library: str, home: str) -> None:
    users = {name for name, tree in modules().items() if {each.partition(".")[0] for each in imports(tree)} & {library}}
    assert {name for name in users if name != home and not name.startswith(f"{home}.")} == set()


def test_a_configuration_is_derived_in_one_place() -> None:
    called = {
        (name, node.func.id)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("InstanceConfig", "derive")
    }
    assert called == {("lifecycle.config", "InstanceConfig"), ("lifecycle.config", "derive")}


def test_values_are_structs() -> None:
    """Making a dataclass takes 1 to 2.5 ms of every command's start, a struct 0.03 ms."""
    assert [name for name, tree in modules().items() if "dataclasses" in {*imports(tree)}] == []


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_public_name_is_imported_from_where_it_is_defined() -> None:
    handed_on = []
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(f"{NAME}."):
                continue
            home = (node.module or "").removeprefix(f"{NAME}.")
            handed_on += [
                f"{name}: {alias.name} from {home}"
                for alias in node.names
                if f"{home}.{alias.name}" not in modules() and alias.name not in defined(home)
            ]
    assert handed_on == []


@functools.cache
def defined(module: str) -> frozenset[str]:
    """The names that a module itself defines at its top."""
    found = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for each in targets for target in ast.walk(each) if isinstance(target, ast.Name)}
    return frozenset(found)


# the tests themselves


@functools.cache
def of_tests() -> Mapping[str, ast.Module]:
    """Every module of the tests, by its path."""
    paths = sorted(TESTS.rglob("*.py"))
    return {path.relative_to(TESTS).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_no_string_of_the_tests_names_a_module() -> None:
    """What moves is found by imports: programs that tests run are files, and a module's name is its `__name__`."""
    named = [
        f"{path}:{node.lineno}"
        for path, tree in of_tests().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.search(rf"\b{NAME}\.[a-z]", node.value)
    ]
    assert named == []


BUILDERS = {
    "instance": {"model"},
    "instance.model": {"Instance", "make_instance"},
    "lifecycle.config": {"configure"},
    "backends.protocol": {"InstanceConfig"},
}


def test_instances_are_built_in_one_place() -> None:
    """Apart from the tests of what builds them."""
    builders = {
        path
        for path, tree in of_tests().items()
        for node in at_run_time(tree)
        if isinstance(node, ast.ImportFrom)
        and {alias.name for alias in node.names} & BUILDERS.get((node.module or "").removeprefix(f"{NAME}."), set())
    }
    assert builders == {"configs.py", "instance/test_model.py", "instance/test_variables.py"}


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from at_run_time(node)


def test_repositories_are_made_in_one_place() -> None:
    """Hosts among them."""
    makers = {
        path
        for path, tree in of_tests().items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Call, ast.List, ast.Tuple)) and {"git", "init"} <= words(node)
    }
    assert makers == {"repositories.py"}


def words(node: ast.Call | ast.List | ast.Tuple) -> set[str]:
    """The words of a command, with the name of the function that runs it."""
    given = node.args if isinstance(node, ast.Call) else node.elts
    found = {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return found | ({ast.unparse(node.func).rpartition(".")[2]} if isinstance(node, ast.Call) else set())
