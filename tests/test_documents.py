"""What the documents show is there, and runs."""

import re
from pathlib import Path

import pytest
import torch

from launcher import Task, jobfile, target

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("images/**/*.md")]


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


def test_the_chinese_readme_shows_the_same_commands() -> None:
    """Each is there word for word, with a remark of its own."""

    def commands(name: str) -> set[str]:
        fenced = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
        return {line.partition(" #")[0].strip() for kind, block in fenced if not kind for line in block.splitlines()}

    assert commands("README.zh-CN.md") <= commands("README.md")
    assert len(commands("README.zh-CN.md")) > 15


@pytest.mark.parametrize("job", sorted(ROOT.glob("jobs/*.yaml")), ids=lambda path: path.name)
def test_every_job_is_valid_and_its_target_there(job: Path) -> None:
    target.check(jobfile.load(job).task, job)
