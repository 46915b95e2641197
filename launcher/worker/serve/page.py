"""The page for people at `/docs`: what may be asked, tried from a form. It holds all it shows, so that no other server
is asked for anything, on machines without a way to the internet, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from launcher.report.page import page, section, table

SCRIPT = """
document.querySelector("form").onsubmit = async event => {
  event.preventDefault()
  const form = event.target, token = form.token.value
  const headers = {"content-type": "application/json", ...(token && {authorization: "Bearer " + token})}
  const answer = await fetch("predict", {method: "POST", headers, body: form.body.value})
  document.querySelector("output").textContent = answer.status + " " + await answer.text()
}
"""


def written(described: Mapping[str, Any]) -> str:
    """The page of an application, from its OpenAPI description."""
    asked = described["paths"]["/predict"]["post"]
    content = asked["requestBody"]["content"]["application/json"]
    example = json.dumps(content.get("example", {"inputs": {}}))
    answers = [(str(status), str(answer["description"])) for status, answer in sorted(asked["responses"].items())]
    ways = [
        (f"{method.upper()} {path}", str(way.get("description", "")))
        for path, ways in described["paths"].items()
        for method, way in ways.items()
    ]
    form = (
        '<form><p><textarea name="body" rows="6" style="width: 100%" aria-label="body">'
        f"{escape(example)}</textarea></p>"
        '<p><input name="token" type="password" placeholder="token, where one is set" autocomplete="off"> '
        "<button>Send</button></p></form><p><output></output></p>\n"
    )
    schema = f'<div class="wide"><pre>{escape(json.dumps(content["schema"], indent=1))}</pre></div>\n'
    sections = [
        section("What may be asked", table(("", ""), [*ways, ("GET /openapi.json", "This, for programs.")])),
        section("Try POST /predict", form),
        section("What it answers", table(("status", ""), answers)),
        section("The body", schema),
    ]
    return page(str(described["info"]["title"]), sections, script=SCRIPT)
