"""The API page's text from docstrings and signatures, read from the source without importing it: no torch is needed.

``<!-- api: gan.data.store Store -->`` in docs/api.md becomes those names of the module, or all public ones.
"""

import ast
import re
import textwrap
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
MARK = re.compile(r"^<!-- api: ([\w.]+) ?([\w ]*)-->$", re.MULTILINE)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def render(text: str) -> str:
    """``text`` with each mark replaced. `LookupError` for a name that its module does not have."""
    return MARK.sub(lambda match: "\n".join(_module(match[1], match[2].split())), text)


def _module(name: str, wanted: list[str]) -> list[str]:
    path = SOURCE / name.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    known = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | Function)}
    chosen = wanted or [each for each, node in known.items() if _public(node)]
    if lacking := [each for each in chosen if each not in known]:
        raise LookupError(f"docs/api.md: {name} has no {lacking[0]}")
    lines = [f"### {name}", "", *_text(tree)]
    for each in chosen:
        node = known[each]
        lines += _class(node) if isinstance(node, ast.ClassDef) else _function(node, node.name)
    return lines


def _class(node: ast.ClassDef) -> list[str]:
    """Its fields as code, its text, and each public method that has a docstring."""
    fields = [line for line in node.body if isinstance(line, ast.AnnAssign) and not ast.unparse(line).startswith("_")]
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    code = [*_decorators(node), f"class {node.name}{bases}:", *(f"    {ast.unparse(field)}" for field in fields)]
    lines = [f"#### {node.name}", "", *_code(code), *_text(node)]
    for method in (each for each in node.body if isinstance(each, Function)):
        if (_public(method) or method.name in ("__init__", "__call__")) and ast.get_docstring(method):
            lines += _function(method, f"{node.name}.{method.name}")
    return lines


def _function(node: Function, title: str) -> list[str]:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    whole = f"def {node.name}({ast.unparse(node.args)}){returns}"
    wrapped = textwrap.wrap(whole, 100, subsequent_indent="        ", break_on_hyphens=False)
    return [f"#### {title}", "", *_code([*_decorators(node), *wrapped]), *_text(node)]


def _decorators(node: ast.ClassDef | Function) -> list[str]:
    return [f"@{ast.unparse(each)}" for each in node.decorator_list]


def _code(lines: list[str]) -> list[str]:
    return ["```python", *lines, "```", ""]


def _text(node: ast.Module | ast.ClassDef | Function) -> list[str]:
    """The docstring: plain text with code in backticks, so stars and angles elsewhere mark nothing up."""
    text = ast.get_docstring(node) or ""
    return [re.sub(r"(`+[^`]*`+)|([*<])", lambda match: match[1] or f"\\{match[2]}", text), ""]


def _public(node: ast.ClassDef | Function) -> bool:
    return not node.name.startswith("_")
