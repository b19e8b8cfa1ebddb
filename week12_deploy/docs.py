"""/docs: /openapi.json as a page to read. FastAPI's own page fetches its program from another host: where there is no
network, or a firewall, it stays empty, and who reads it is told to strangers."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1rem; }}
code, pre, .method {{ font-family: ui-monospace, monospace; font-size: 0.9em; }}
pre {{ overflow-x: auto; padding: 0.7em; background: color-mix(in srgb, currentColor 8%, transparent); }}
details {{ border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 6px; margin: 0.5rem 0;
    padding: 0.5rem 0.8rem; }}
summary {{ cursor: pointer; overflow-wrap: anywhere; }}
.method {{ display: inline-block; min-width: 4.5em; font-weight: bold; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ vertical-align: top; padding: 0.15rem 0.8rem 0.15rem 0; }}
td:first-child {{ white-space: nowrap; }}
td:last-child {{ width: 60%; overflow-wrap: anywhere; }}
.key {{ font-size: 0.8em; padding: 0 0.4em; border: 1px solid; border-radius: 4px; }}
</style><h1>{title} <small>{version}</small></h1><p>{about}</p>
<p>The same for programs: <a href="openapi.json">openapi.json</a>. What wants a <span class="key">key</span> takes
<code>Authorization: Bearer KEY</code> or <code>X-API-Key: KEY</code>.</p>"""
KEY, URL = '-H "Authorization: Bearer $COURSE_API_KEY" ', "http://127.0.0.1:8000"


def page(schema: Mapping[str, Any]) -> str:
    """The page of a service.

    Args:
        schema: its /openapi.json.
    """
    about = schema["info"]
    named = {name: words(about[name]) for name in ("title", "version")}
    parts = [HEAD.format(**named, about=words(about["description"]))]
    groups: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for method, one in operations.items():
            groups.setdefault(one["tags"][0], []).append(operation(schema, method.upper(), path, one))
    for name, found in groups.items():
        parts += [f"<h2>{words(name.capitalize())}</h2>", *found]
    parts.append("<h2>What goes in and out</h2>")
    for name, model in schema["components"]["schemas"].items():
        if "description" in model:  # else it is the form of an upload
            fields = table(((field, kind(one), one) for field, one in model["properties"].items()), name)
            head = f"<b>{words(name)}</b> {words(model['description'])}"
            parts.append(f"<details><summary>{head}</summary>{fields}</details>")
    return "\n".join(parts)


def operation(schema: Mapping[str, Any], method: str, path: str, one: Mapping[str, Any]) -> str:
    """A route: what it does, how it is called, what it answers."""
    rows = ((status, kind_of_content(r.get("content", {})), r) for status, r in one["responses"].items())
    sign = '<span class="key">key</span> ' * bool(one.get("security"))
    head = f'<span class="method">{method}</span> <code>{words(path)}</code> {sign}{words(one["summary"])}'
    call = f"<p>{words(one['description'])}</p><pre>{words(command(schema, method, path, one))}</pre>"
    return f"<details><summary>{head}</summary>{call}{table(rows)}</details>"


def command(schema: Mapping[str, Any], method: str, path: str, one: Mapping[str, Any]) -> str:
    """The route as it is called by curl."""
    line = f"curl {f'-X {method} ' * (method == 'DELETE')}{KEY * bool(one.get('security'))}"
    for media, body in one.get("requestBody", {}).get("content", {}).items():
        fields = schema["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
        if media == "multipart/form-data":
            return f"{line}-F file=@paper.pdf {URL}{path}"
        asked = dict.fromkeys(fields.get("required", ()), "…")
        line += f"{'-N ' * path.endswith('stream')}--json '{json.dumps(asked, ensure_ascii=False)}' "
    return f"{line}{URL}{path}"


def table(rows: Iterator[tuple[str, str, Mapping[str, Any]]], name: str = "") -> str:
    """(name, kind, what describes it) as lines; `kind` is HTML. A link to `name` leads there, and opens it."""
    cells = [f"<tr><td><code>{words(a)}</code><td>{b}<td>{words(c.get('description', ''))}" for a, b, c in rows]
    return f'<table id="{escape(name)}">{"".join(cells)}</table>' if name else f"<table>{''.join(cells)}</table>"


def kind(one: Mapping[str, Any]) -> str:
    """The type of a field, as HTML; models are links."""
    if "$ref" in one:
        name = escape(one["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if one.get("type") == "array":
        return f"list of {kind(one['items'])}"
    return words(" | ".join(map(str, one.get("enum", ()))) or str(one.get("const") or one.get("type", "")))


def kind_of_content(content: Mapping[str, Any]) -> str:
    """The models of an answer, as HTML; where there is none its media type."""
    return ", ".join(kind(one["schema"]) if "$ref" in one.get("schema", {}) else words(m) for m, one in content.items())


def words(text: str) -> str:
    """A text as HTML; what stands between backticks as code."""
    pieces = escape(" ".join(str(text).split())).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))
