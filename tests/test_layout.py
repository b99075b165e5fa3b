"""The house stands as drawn: packages listed, arrows pointing up, no circles, modules of a readable size, nothing of one machine.

Arrows are held for **every** import statement in a module, also those inside functions and under ``if TYPE_CHECKING:``:
importing late makes start-up fast, it does not make an upper module known to a lower one.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "segue"
MAX_LINES = 400
NOT_PACKAGES = {"tests", "benchmarks", "docs", "build", "dist", "runs"}

# who may know whom: each room, and the rooms it may import from (itself apart)
MAY_KNOW: dict[str, set[str]] = {
    "scoring": set(),
    "pipeline": {"scoring"},
    "stages": {"scoring", "pipeline"},
    "presets": {"scoring", "pipeline", "stages"},
    "dataset": {"scoring", "pipeline", "stages", "presets"},
    "training": {"scoring", "pipeline", "stages", "presets"},
    "retrieval": {"scoring", "pipeline", "stages", "presets"},
    "cli": {"scoring", "pipeline", "stages", "presets", "dataset", "training", "retrieval", ""},
    "": {"scoring", "pipeline", "stages", "presets", "dataset", "training", "retrieval", "cli"},
}
# inside `pipeline`: the core knows neither models nor takes, models know no stage and no executor
PIPELINE_FORBIDDEN = {
    "pipeline.diffusion": {"pipeline.models", "pipeline.take", "pipeline.spec", "pipeline.store", "pipeline.executor"},
    "pipeline.models": {"pipeline.executor", "pipeline.walk", "pipeline.graph", "pipeline.catalog", "pipeline.session"},
}


@functools.cache
def sources() -> dict[str, Path]:
    """Dotted module name inside the package ('' is the root) -> file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] in NOT_PACKAGES or any(p.startswith(".") for p in parts):
            continue
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


@functools.cache
def imports(module: str) -> set[str]:
    """Modules of the package this one imports, wherever the statement stands."""
    path = sources()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.ImportFrom):
            found.update(_targets(node, package))
        elif isinstance(node, ast.Import):
            found.update(a.name.removeprefix(f"{PACKAGE}.") for a in node.names if a.name.startswith(f"{PACKAGE}."))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(_tree(module))
    return found - {module}


def _tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def _targets(node: ast.ImportFrom, package: str) -> set[str]:
    if node.level:
        parts = package.split(".") if package else []
        base = ".".join(parts[: len(parts) - (node.level - 1)])
        origin = ".".join(p for p in (base, node.module or "") if p)
    elif node.module and (node.module == PACKAGE or node.module.startswith(f"{PACKAGE}.")):
        origin = node.module.removeprefix(PACKAGE).lstrip(".")
    else:
        return set()
    inner = {f"{origin}.{a.name}".lstrip(".") for a in node.names}
    modules = {name for name in inner if name in sources()}
    return modules | ({origin} if origin in sources() and len(modules) < len(node.names) else set())


def room(module: str) -> str:
    return module.split(".")[0] if "." in module or (ROOT / module).is_dir() else ""


def test_every_package_on_disk_is_listed_and_every_listed_one_is_there() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    on_disk = {".".join((PACKAGE, *module.split("."))) if module else PACKAGE
               for module, path in sources().items() if path.name == "__init__.py"}
    assert on_disk == listed


def test_every_module_lies_in_a_package() -> None:
    homeless = [str(p.relative_to(ROOT)) for p in sources().values() if not (p.parent / "__init__.py").exists()]
    assert homeless == []


def test_every_room_is_in_the_plan() -> None:
    assert {room(module) for module in sources()} <= set(MAY_KNOW)


def test_arrows_between_rooms() -> None:
    wrong = [
        f"{module or PACKAGE} must not know {target or PACKAGE}"
        for module in sources()
        for target in sorted(imports(module))
        if room(target) not in {room(module)} | MAY_KNOW[room(module)]
    ]
    assert wrong == []


def test_arrows_inside_the_pipeline() -> None:
    wrong = [
        f"{module} must not know {target}"
        for part, forbidden in PIPELINE_FORBIDDEN.items()
        for module in sources()
        for target in sorted(imports(module))
        if _within(module, part) and any(_within(target, f) for f in forbidden)
    ]
    assert wrong == []


def _within(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def test_no_circle_of_modules() -> None:
    graph = nx.DiGraph((module, target) for module in sources() for target in imports(module))
    assert [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1] == []


def test_the_arrow_test_sees_late_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    late = tmp_path / "late.py"
    late.write_text("def f():\n    from ..stages import STAGES\n    return STAGES\n")
    monkeypatch.setitem(sources(), "pipeline.late", late)
    assert imports("pipeline.late") == {"stages"}


def test_modules_are_of_a_readable_size() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in sources().items()}
    assert {module: n for module, n in lengths.items() if n > MAX_LINES} == {}


def test_modules_say_what_they_are_for() -> None:
    assert [module for module in sources() if not ast.get_docstring(_tree(module))] == []


def _tracked() -> list[Path]:
    """Text files that belong to the repository: what git tracks, or every file where this is no git checkout."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
        names = [n for n in listed.split("\0") if n]
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.py")]
    kinds = (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ".jsonl", "")
    return [ROOT / n for n in names if (ROOT / n).suffix in kinds]


def test_nothing_committed_names_one_machine() -> None:
    needles = [f"{place}/" for place in (ROOT, Path.home()) if len(place.parts) > 2 or place == Path("/root")]
    found = []
    for path in _tracked():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {needle}" for needle in needles if needle in text]
    assert found == []


def test_what_installs_names_no_index() -> None:
    for name in ("Makefile", ".ci/run", "constraints.txt", "pyproject.toml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"index-url|find-links|https?://", text), name


def test_constraints_hold_every_dependency_at_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"], *project["optional-dependencies"]["dev"]]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in needed}  # type: ignore[index]
    assert names - pinned == set()


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.match(r"[\w-]+", r)[0].lower().replace("-", "_") for r in declared}  # type: ignore[index]
    names |= {name for package, name in (("pyyaml", "yaml"), ("pyfluidsynth", "fluidsynth")) if package in names}
    imported: dict[str, str] = {}
    for module in sources():
        for node in ast.walk(_tree(module)):
            found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            imported |= {name.split(".")[0].lower(): module for name in found}
    unknown = {n: m for n, m in imported.items() if n not in names | set(sys.stdlib_module_names) | {PACKAGE}}
    assert unknown == {}


def test_version_is_one() -> None:
    import segue

    assert segue.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    import segue

    tree = ast.parse((ROOT / "__init__.py").read_text())
    checked = {a.asname for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names if a.asname}
    assert checked == set(segue.__all__) - {"__version__"}
    for name in segue.__all__:
        assert getattr(segue, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import segue

    with pytest.raises(AttributeError, match="no attribute 'Pipelines'"):
        _ = segue.Pipelines


@pytest.mark.slow
def test_the_wheel_holds_modules_weights_and_presets(tmp_path: Path) -> None:
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=left_out)  # a build in place would leave build/ behind
    made = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), "./checkout"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"{PACKAGE}/{p.relative_to(ROOT).as_posix()}" for p in sources().values()} | {f"{PACKAGE}/py.typed"}
    weights = "pipeline/models/weights/**/*"
    for pattern in ("presets/*.yaml", "presets/inputs/*.flac", f"{weights}.safetensors", f"{weights}.json"):
        files = [p for p in ROOT.glob(pattern) if p.is_file()]
        assert files, f"there is no {pattern} to ship"
        expected |= {f"{PACKAGE}/{p.relative_to(ROOT).as_posix()}" for p in files}
    assert expected - inside == set()
    assert not [n for n in inside if n.startswith(f"{PACKAGE}/tests") or "__pycache__" in n]
