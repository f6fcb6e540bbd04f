"""Reads one parsed Python file: which names of the stack it uses, where, and how sure that is."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tunematrix.code.modules import Modules
from tunematrix.code.scopes import ELSE, Block, Meaning, Scope, dotted, mapping_keys

STACK: Final = (
    "transformers", "peft", "trl", "accelerate", "datasets", "huggingface_hub", "tokenizers", "safetensors",
)  # fmt: skip
PARSERS: Final = ("TrlParser", "HfArgumentParser")  # make an object of each class that they receive
STAR: Final = "*"  # in place of the module, of a name that comes from "from MODULE import *"
BUILTINS: Final = frozenset(dir(builtins))
# A condition on what the stack offers: code behind it may be for another release than the new one.
GUARD: Final = re.compile(r"version|signature|hasattr|dataclass_fields", re.IGNORECASE)
CAUGHT: Final = re.compile(r"TypeError|AttributeError|ImportError|ModuleNotFoundError")
GUARDED: Final = "it runs only under a condition on the release"
SHARED: Final = "it is in a dictionary that other calls may use"
EXTENDED: Final = "it is a field of a class of yours"
OTHER_STAR: Final = "an import of * may give its name another meaning"

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


@dataclass(frozen=True, order=True, slots=True)
class Use:
    """One use of ``name``, such as ``trl.DPOConfig``, or of its argument ``argument``, at ``file``:``line``.

    ``called`` if it is called there. ``column`` is in bytes, as ``ast`` counts. ``call`` is the line and
    column of the call that the use belongs to. ``doubt`` says why the place must not be edited unseen.
    """

    file: str
    line: int
    name: str
    argument: str = ""
    called: bool = False
    column: int = 0
    call: tuple[int, int] = (0, 0)
    doubt: str = ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


class Reader(ast.NodeVisitor):
    """Follows imports, names of modules, and variables that hold what a class of the stack made.

    Bodies of functions are read after what surrounds them, since they run later.
    """

    def __init__(self, file: str, modules: Modules | None = None) -> None:
        self.file = file
        self.modules = modules or Modules()
        self.uses: set[Use] = set()
        self.scope = Scope("module")
        self.block: Block = ()
        self.guarded = False
        self.stars: list[str] = []  # modules of the stack
        self.other_stars = False
        self.conditions: set[str] = set()  # variables that hold a condition on the release
        self.later: list[Callable[[], None]] = []

    def read(self, tree: ast.Module) -> set[Use]:
        module = self.scope
        self.visit(tree)
        self.modules.add(self.file, module)
        while self.later:
            self.later.pop(0)()
        return self.uses

    def add(
        self,
        node: ast.AST,
        meaning: Meaning,
        argument: str = "",
        call: tuple[int, int] | None = None,
        doubt: str = "",
    ) -> None:
        top, _, rest = meaning.name.partition(".")
        names = [f"{module}.{rest}" for module in self.stars] if top == STAR else [meaning.name]
        line, column = _position(node)
        for name in names:
            if name.partition(".")[0] in STACK:
                use = Use(
                    file=self.file,
                    line=line,
                    name=name,
                    argument=argument,
                    called=call is not None,
                    column=column,
                    call=call or (0, 0),
                    doubt=(GUARDED if self.guarded else "") or meaning.doubt or doubt,
                )
                self.uses.add(use)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            meaning = Meaning(alias.name if alias.asname else top) if top in STACK else ELSE
            self.bind(alias.asname or top, meaning)
            if top in STACK:
                self.add(node, Meaning(alias.name))
            else:
                self.bind_module(alias.asname or alias.name, alias.name, 0)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        ours = not node.level and module.partition(".")[0] in STACK
        own = {} if ours else self.modules.names(self.file, module, node.level)
        for alias in node.names:
            if alias.name == "*":
                self.stars += [module] if ours else []
                self.other_stars |= not ours
                for name, meaning in own.items():
                    self.bind(name, meaning)
            elif ours:
                meaning = Meaning(f"{module}.{alias.name}")
                self.bind(alias.asname or alias.name, meaning)
                self.add(alias, meaning)
            else:  # told where the team's own file imports or extends it
                self.bind(alias.asname or alias.name, own.get(alias.name, ELSE))
                if alias.name not in own:
                    whole = f"{module}.{alias.name}".lstrip(".")
                    self.bind_module(alias.asname or alias.name, whole, node.level)

    def bind_module(self, key: str, module: str, level: int) -> None:
        """``key.NAME`` stands for what the team's own module offers as ``NAME``."""
        for name, meaning in self.modules.names(self.file, module, level).items():
            self.bind(f"{key}.{name}", meaning)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value:
            self.visit(node.value)
            self.assign(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        inner = self.scope
        while self.scope.kind == "comprehension" and self.scope.parent:
            self.scope = self.scope.parent
        self.assign(node.target, node.value)
        self.scope = inner

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        several = (ast.Tuple, ast.List)
        if isinstance(target, several) and isinstance(value, several) and len(target.elts) == len(value.elts):
            for each in zip(target.elts, value.elts, strict=True):
                self.assign(*each)
            return
        key = dotted(target)
        if not key:
            self.visit(target)
            return
        if "." in key:
            self.visit(target)
        if isinstance(value, ast.Constant):
            return  # ``DPOConfig = None`` where the import fails hides nothing that could be called
        self.bind(key, self.resolve(value) or ELSE)
        if (keys := mapping_keys(value)) is not None:
            self.scope.bind_mapping(key, keys)
        if self.is_condition(value):
            self.conditions.add(key)

    def bind(self, key: str, meaning: Meaning) -> None:
        self.scope.bind(key, meaning, self.block)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):  # of a loop, of "with", or of several values at once
            self.bind(node.id, ELSE)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if meaning := self.resolve(node):
            self.add(node, meaning)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if meaning := self.resolve(node.func):
            call = meaning.defined or _position(node)
            if not meaning.defined:
                self.add(node, meaning, call=call)
            for keyword in node.keywords:
                if keyword.arg and keyword.arg not in meaning.own:
                    self.add(keyword, meaning, keyword.arg, call)
                elif not keyword.arg:
                    self.add_mapping(keyword.value, meaning, call)
            if meaning.name.rpartition(".")[2] in PARSERS:
                self.add_parsed(node)
        self.generic_visit(node)

    def add_mapping(self, value: ast.expr, meaning: Meaning, call: tuple[int, int]) -> None:
        """The arguments in ``**value``: a dictionary, or a variable that holds one."""
        keys = mapping_keys(value)
        doubt = SHARED if keys is None or isinstance(value, ast.Dict) else ""
        for key in self.scope.find_mapping(dotted(value)) if keys is None else keys:
            name = key.arg if isinstance(key, ast.keyword) else getattr(key, "value", "")
            self.add(key, meaning, str(name), call, doubt)

    def add_parsed(self, node: ast.Call) -> None:
        """A parser of arguments makes an object of each of its classes; what the user sets is not known."""
        values = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "dataclass_types")]
        for value in values:
            for each in value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value]:
                if (meaning := self.resolve(each)) and not meaning.defined:
                    self.add(each, meaning, call=_position(each))

    def resolve(self, node: ast.AST) -> Meaning | None:
        """What of the stack an expression stands for: ``trl.DPOConfig``, ``trl.SFTTrainer.train``."""
        if (key := dotted(node)) and (known := self.scope.find(key)):
            return known if known.name else None
        if isinstance(node, ast.Name) and self.stars and node.id not in BUILTINS:
            return Meaning(f"{STAR}.{node.id}", OTHER_STAR if self.other_stars else "")
        if isinstance(node, ast.Attribute) and (owner := self.resolve(node.value)):
            return owner.attribute(node.attr)
        return self.made(node)

    def made(self, node: ast.AST) -> Meaning | None:
        """The class that a call makes an object of; a class method that loads one makes it too."""
        if not isinstance(node, ast.Call) or not (meaning := self.resolve(node.func)):
            return None
        owner, _, last = meaning.name.rpartition(".")
        if last == "get_peft_model":
            return Meaning("peft.PeftModel", meaning.doubt)
        if last == "from_pretrained":
            return Meaning(owner, meaning.doubt)
        return meaning if last[:1].isupper() else None

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit_all(node.decorator_list)
        self.bind(node.name, ELSE)
        self.visit_function(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_function(node)

    def visit_function(self, node: Function) -> None:
        self.visit(node.args)
        scope, guarded = Scope("function", self.scope), self.guarded
        for name, default in _parameters(node.args):
            meaning = self.resolve(default) if default else None
            scope.bind(name, Meaning(meaning.name, "callers may pass another") if meaning else ELSE)

        def read_body() -> None:
            outside = self.scope, self.block, self.guarded
            self.scope, self.block, self.guarded = scope, (), guarded
            self.visit_all([node.body] if isinstance(node, ast.Lambda) else node.body)
            self.scope, self.block, self.guarded = outside

        self.later.append(read_body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all([*node.decorator_list, *node.bases, *node.keywords])
        base = next((meaning for each in node.bases if (meaning := self.resolve(each))), None)
        self.bind(node.name, self.extended(node, base) if base else ELSE)
        outside = self.scope, self.block
        self.scope, self.block = Scope("class", self.scope), ()
        self.visit_all(node.body)
        self.scope, self.block = outside

    def extended(self, node: ast.ClassDef, base: Meaning) -> Meaning:
        """What a class stands for that extends one of the stack: its objects take the arguments of both.

        Its fields count as arguments of one call, made where it is defined, since its own calls may be in
        other files, or in a parser.
        """
        call = base.defined or _position(node)
        if not base.defined:
            self.add(node, base, call=call)
        own = set(base.own)
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                self.add(each, base, each.target.id, call, EXTENDED)
                own.add(each.target.id)
            elif isinstance(each, ast.FunctionDef) and each.name == "__init__":
                own |= {name for name, _ in _parameters(each.args)}
        return Meaning(base.name, base.doubt, call, frozenset(own))

    def visit_ListComp(self, node: Comprehension) -> None:
        self.scope = Scope("comprehension", self.scope)
        self.visit_all(node.generators)
        self.visit_all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.scope = self.scope.parent or self.scope

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        condition = self.is_condition(node.test)
        for number, body in enumerate((node.body, node.orelse)):
            with self.inside((node.lineno, number), guarded=condition):
                self.visit_all(body)
        if condition and node.body and isinstance(node.body[-1], (ast.Return, ast.Raise, ast.Continue)):
            self.guarded = True  # what follows runs on the other releases alone

    def visit_IfExp(self, node: ast.IfExp) -> None:
        with self.inside((), guarded=self.is_condition(node.test)):
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        caught = any(each.type and CAUGHT.search(ast.unparse(each.type)) for each in node.handlers)
        handlers = [handler.body for handler in node.handlers]
        for number, body in enumerate((node.body, *handlers, node.orelse)):
            with self.inside((node.lineno, number), guarded=caught):
                self.visit_all(body)
        self.visit_all(node.finalbody)

    visit_TryStar = visit_Try

    def visit_For(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        with self.inside((node.lineno, 0)):
            self.generic_visit(node)

    visit_AsyncFor = visit_While = visit_For

    @contextmanager
    def inside(self, block: Block, *, guarded: bool = False) -> Iterator[None]:
        """In a conditional block; ``guarded`` if the condition is one on the release."""
        outside = self.block, self.guarded
        self.block, self.guarded = (*self.block, *block), self.guarded or guarded
        yield
        self.block, self.guarded = outside

    def is_condition(self, node: ast.expr) -> bool:
        """Whether the expression looks at the release, or at what the stack offers."""
        words = (getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(node))
        return any(word in self.conditions or GUARD.search(word) for word in words)

    def visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    """The parameters of a function with their defaults."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: Sequence[ast.expr | None] = [
        *[None] * (len(plain) - len(arguments.defaults)),
        *arguments.defaults,
    ]
    yield from ((each.arg, default) for each, default in zip(plain, defaults, strict=True))
    yield from zip((each.arg for each in arguments.kwonlyargs), arguments.kw_defaults, strict=True)
    yield from ((each.arg, None) for each in (arguments.vararg, arguments.kwarg) if each)
