"""What the documents show is there, and runs."""

import re
from pathlib import Path

import pytest
import torch

from launcher import Task, jobfile, target

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("images/**/*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readmes_task_is_short_and_whole() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 25
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102  (our own README)
    task = names["build"]()  # type: ignore[operator]
    assert isinstance(task, Task)
    batch = tuple(torch.stack(column) for column in zip(*(task.data[i] for i in range(4)), strict=True))
    assert task.loss is not None and task.loss(task.model, batch).isfinite()


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readmes_job_file_is_valid(name: str) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)
    assert jobfile.parse(text.encode(), source=name).name == "mlp"


TRANSLATED = {"README.md": "README.zh-CN.md", "docs/tutorial.md": "docs/tutorial.zh-CN.md"}
IN_BOTH = pytest.mark.parametrize(("english", "chinese"), TRANSLATED.items(), ids=TRANSLATED)


@IN_BOTH
def test_a_translation_shows_the_same_code(english: str, chinese: str) -> None:
    """Each block is there word for word, with remarks of its own."""

    def code(name: str) -> list[list[str]]:
        fenced = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
        return [[line.partition(" #")[0].rstrip() for line in block.splitlines()] for block in fenced]

    assert code(chinese) == code(english)
    assert len(code(english)) > 5


@IN_BOTH
def test_a_translation_has_the_same_headings_and_tables(english: str, chinese: str) -> None:
    def shape(name: str) -> list[str]:
        outside_of_code = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
        return re.findall(r"^#+ |^\|", outside_of_code, flags=re.MULTILINE)

    assert shape(chinese) == shape(english)


@IN_BOTH
def test_a_translation_leads_to_the_same_documents(english: str, chinese: str) -> None:
    def links(name: str) -> set[str]:
        found = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", (ROOT / name).read_text())
        return {link.replace(".zh-CN", "") for link in found}

    assert links(chinese) == links(english)


JOBS = sorted({*ROOT.glob("jobs/*.yaml")} - {*ROOT.glob("jobs/*_sweep.yaml")})


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.name)
def test_every_job_is_valid_and_its_target_there(job: Path) -> None:
    target.check(jobfile.load(job).task, job)
