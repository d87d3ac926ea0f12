"""Prints the public API of the package, an item a line: its name, and how it is written. Its argument is the package's folder.

Public is what ``__all__`` of ``meshwire`` and ``meshwire.sync`` names, and what ``meshwire.testing`` has. Of the native part it reads the
stub, which stubtest holds against the module.
"""

import ast
import pathlib
import sys

ROOT = pathlib.Path(sys.argv[1])
ENTRIES = [("meshwire", ""), ("meshwire.sync", "sync."), ("meshwire.testing", "testing.")]


class Module:
    def __init__(self, name):
        path = ROOT.joinpath(*name.split("."))
        files = [path / "__init__.py", path.with_suffix(".pyi"), path.with_suffix(".py")]
        file = next(file for file in files if file.is_file())
        self.package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        self.defined, self.imported, self.stars, self.all = {}, {}, [], None
        self._read(ast.parse(file.read_text(encoding="utf-8")).body)

    def _read(self, body):
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.defined[node.name] = node
            elif isinstance(node, ast.AnnAssign):
                self.defined[node.target.id] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.defined[node.targets[0].id] = node
                if node.targets[0].id == "__all__":
                    self.all = ast.literal_eval(node.value)
            elif isinstance(node, ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.If):
                # For type checkers, or for a version.
                self._read(node.orelse)
                self._read(node.body)

    def _import(self, node):
        base = self.package.split(".")
        base = base[: len(base) + 1 - node.level] if node.level else []
        source = ".".join(base + ([node.module] if node.module else []))
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(source)
            else:
                self.imported[alias.asname or alias.name] = (source, alias.name)


MODULES = {}


def module(name):
    if name not in MODULES:
        MODULES[name] = Module(name)
    return MODULES[name]


def find(name, where):
    """The module and the node that define a name; nothing for what is not of this package."""
    here = module(where)
    if name in here.defined:
        return where, here.defined[name]
    for star in here.stars:
        if name in (module(star).all or ()):
            return find(name, star)
    source, name = here.imported.get(name, ("", ""))
    if source == where:
        # A module of the package.
        return None
    return find(name, source) if source.startswith("meshwire.") or source == "meshwire" else None


def public(name):
    return not name.startswith("_") or name in ("__version__", "__await__", "__len__", "__iter__", "__next__", "__enter__", "__aenter__", "__aiter__", "__anext__")


def say(name, signature):
    print(name, "|", " ".join(signature.split()))


def signature(node):
    node = ast.fix_missing_locations(node)
    marks = "".join(f"@{ast.unparse(mark)} " for mark in node.decorator_list)
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{marks}{word} {node.name}({ast.unparse(node.args)}){returns}"


def parameters(name, node, where):
    """What a call is told by name alone, its options too."""
    said = [] if node.args.args[:1] and node.args.args[0].arg == "self" else node.args.args
    for one in [*said, *node.args.kwonlyargs]:
        say(f"{name}({one.arg})", ast.unparse(one))
    more = node.args.kwarg and node.args.kwarg.annotation
    if isinstance(more, ast.Subscript):
        for key, value in keys(more.slice.id, where):
            say(f"{name}({key})", f"{key}: {value}")


def keys(name, where):
    """Of a TypedDict, with those that it inherits."""
    where, node = find(name, where)
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id != "TypedDict":
            yield from keys(base.id, where)
    for one in node.body:
        if isinstance(one, ast.AnnAssign):
            yield one.target.id, ast.unparse(one.annotation)


def members(name, node, where, seen=()):
    own = {getattr(one, "name", None) for one in node.body}
    for base in node.bases:
        found = find(base.id, where) if isinstance(base, ast.Name) else None
        # What it inherits of a class that has no public name is its own.
        if found and isinstance(found[1], ast.ClassDef) and base.id not in module("meshwire").all:
            members(name, found[1], found[0], {*seen, *own})
    for one in node.body:
        if getattr(one, "name", None) in seen:
            continue
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
            mark = one.decorator_list[0] if one.decorator_list else None
            is_property = isinstance(mark, ast.Name) and mark.id == "property"
            if one.name in ("__init__", "__new__"):
                say(f"{name}.{one.name}", signature(one))
                parameters(f"{name}.{one.name}", one, where)
            elif public(one.name):
                say(f"{name}.{one.name}", signature(one))
                if not is_property:
                    parameters(f"{name}.{one.name}", one, where)
        elif isinstance(one, ast.AnnAssign) and public(one.target.id):
            say(f"{name}.{one.target.id}", ast.unparse(one))


def describe(name, node, where):
    if isinstance(node, ast.ClassDef):
        marks = "".join(f"@{ast.unparse(mark)} " for mark in node.decorator_list)
        bases = ", ".join(ast.unparse(base) for base in [*node.bases, *node.keywords])
        say(name, f"{marks}class {node.name}({bases})")
        members(name, node, where)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        say(name, signature(node))
        parameters(name, node, where)
    else:
        say(name, ast.unparse(node))
        literal = getattr(node, "value", None)
        if isinstance(literal, ast.Subscript) and ast.unparse(literal.value) == "Literal":
            for word in ast.literal_eval(literal.slice):
                say(f"{name}.{word}", repr(word))


for entry, prefix in ENTRIES:
    here = module(entry)
    names = here.all or [name for name in here.defined if public(name)]
    for star in here.stars:
        names = [*names, *module(star).all]
    for name in sorted(set(names)):
        found = find(name, entry)
        if found is None:
            # A module of the package.
            module(f"{entry}.{name}")
            say(f"{prefix}{name}", f"module {entry}.{name}")
        else:
            describe(f"{prefix}{name}", found[1], found[0])
