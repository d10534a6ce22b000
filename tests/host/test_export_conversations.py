"""`slack-agents export-conversations --format html` on the example agent."""

from __future__ import annotations

import asyncio
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from slack_agents_sqlalchemy.demo.script import File, ToolCall
from tests.host.commands import Finished, slack_agents
from tests.host.conftest import BARE_CHANNEL, Stored, StoredThread

pytestmark = pytest.mark.durable


@dataclass(frozen=True)
class Pages:
    """A directory that the command wrote."""

    directory: Path
    finished: Finished

    @property
    def index(self) -> str:
        """The page that lists the conversations."""
        return (self.directory / "index.html").read_text(encoding="utf-8")

    def of(self, stored: StoredThread) -> str:
        """Return the page of a thread."""
        page = self.directory / "conversations" / f"{stored.id}.html"
        return page.read_text(encoding="utf-8")

    def file(self, page: str, ending: str) -> bytes:
        """Return the file with this ending to which a page links."""
        (link,) = {part for part in page.split('"') if part.endswith(ending)}
        return (self.directory / "conversations" / link).read_bytes()


async def exported(stored: Stored, directory: Path, *filters: str) -> Pages:
    """Run the command into a directory."""
    options: tuple[str | Path, ...] = ("--format", "html", "--output", directory, *filters)
    finished = await slack_agents(
        "export-conversations",
        *options,
        url=stored.url,
    )
    return Pages(directory, finished)


@pytest.fixture(scope="module")
def pages(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """The pages of all conversations, made once; to be read only."""
    return asyncio.run(exported(stored, tmp_path_factory.mktemp("pages")))


def test_the_export_says_how_many_conversations_it_wrote(pages: Pages) -> None:
    assert pages.finished == Finished(0, f"Exported 7 conversation(s) to {pages.directory}/\n", "")


def test_the_index_lists_every_thread_of_the_agent_by_its_channel(
    stored: Stored, pages: Pages
) -> None:
    index = pages.index
    for each in stored.threads:
        assert f"<h2>Channel: {each.thread.channel.name}</h2>" in index
        words = html.escape(each.thread.turns[0].text[:100])
        assert f'<a href="conversations/{each.id}.html">{words}</a>' in index
        assert f"<td>{each.said_at[0]:%Y-%m-%d %H:%M:%S}</td>" in index
    assert f"<h2>Channel: {BARE_CHANNEL}</h2>" in index
    assert f'<a href="conversations/{stored.bare_id}.html">(no text)</a>' in index
    assert index.count("<td>hello-storage</td>") == len(stored.threads) + 1
    assert "elsewhere" not in index


def test_a_page_shows_who_wrote_when_and_what_it_cost(stored: Stored, pages: Pages) -> None:
    for each in stored.threads:
        page = pages.of(each)
        headers = [
            f"{turn.user.name} &mdash; {at:%Y-%m-%d %H:%M:%S}"
            for turn, at in zip(each.thread.turns, each.said_at, strict=True)
        ]
        assert re.findall(r'<div class="message-header">(.+ &mdash; .+?)</div>', page) == headers
        assert page.count('class="usage-footer"') == len(each.thread.turns)
        for turn in each.thread.turns:
            assert f"out={turn.usage.output_tokens:,}" in page


def test_a_page_shows_every_tool_call_with_input_output_and_outcome(
    stored: Stored, pages: Pages
) -> None:
    for each in stored.threads:
        page, calls = pages.of(each), list(each.thread.tool_calls())
        assert page.count("<details") == len(calls)
        assert page.count('<details class="tool-error">') == sum(call.is_error for call in calls)
        for call in calls:
            assert rendered(call) in page


def rendered(call: ToolCall) -> str:
    """Return a tool call as the framework renders one."""
    arguments = json.dumps(call.input, indent=2)
    output = json.dumps(json.loads(call.output), indent=2)
    return (
        f"<summary>{call.name} [{'ERROR' if call.is_error else 'OK'}]</summary>"
        '<div class="tool-body"><div class="tool-input"><strong>Input:</strong>'
        f'<pre><code class="language-json">{html.escape(arguments)}</code></pre></div>'
        '<div class="tool-output"><strong>Output:</strong>'
        f'<pre><code class="language-json">{html.escape(output)}</code></pre></div>'
    )


def test_an_image_is_shown_and_has_the_bytes_that_were_uploaded(
    stored: Stored, pages: Pages
) -> None:
    revenue = stored.threads[0]
    (upload,) = revenue.thread.turns[0].uploads
    page = pages.of(revenue)
    assert pages.file(page, "_image.png") == upload.file.data
    assert '<img class="inline-image" src="../files/' in page
    assert f"({size(upload.file)})" in page


def test_a_pdf_heads_its_extracted_text_and_has_the_bytes_that_were_uploaded(
    stored: Stored, pages: Pages
) -> None:
    invoice = stored.threads[2]
    (upload,) = invoice.thread.turns[0].uploads
    page = pages.of(invoice)
    assert pages.file(page, upload.file.filename) == upload.file.data
    header, _, body = page.partition('<div class="file-extract-body">')
    assert f'{upload.file.filename}</a> <span class="file-size">({size(upload.file)})' in header
    assert body.startswith(html.escape(str(upload.extracted)))


def test_a_file_made_by_a_tool_has_its_name_its_size_and_its_bytes(
    stored: Stored, pages: Pages
) -> None:
    revenue = stored.threads[0]
    (file,) = [file for call in revenue.thread.tool_calls() for file in call.files]
    page = pages.of(revenue)
    assert pages.file(page, file.filename) == file.data
    assert f'{file.filename} <span class="file-size">({size(file)})</span></a>' in page


def size(file: File) -> str:
    """Return a file's size as the framework writes small ones."""
    return f"{len(file.data)} B" if len(file.data) < 1024 else f"{len(file.data) / 1024:.1f} KB"


def test_no_file_is_written_twice(pages: Pages) -> None:
    assert len(list((pages.directory / "files").iterdir())) == 3


async def test_the_filters_choose_pages_and_the_index_names_them(
    stored: Stored, tmp_path: Path
) -> None:
    vpn, access = stored.threads[1], stored.threads[5]
    since, until = vpn.said_at[-1].isoformat(), access.said_at[0].isoformat()
    filters = ("--handle", "Priya Raghavan", "--date-from", since, "--date-to", until)

    some, none = await asyncio.gather(
        exported(stored, tmp_path / "some", *filters),
        exported(stored, tmp_path / "none", "--handle", "Nobody"),
    )

    assert some.finished.exit_code == 0
    assert {page.stem for page in (tmp_path / "some" / "conversations").iterdir()} == {
        str(vpn.id),
        str(access.id),
    }
    for name, value in (("Handle", "Priya Raghavan"), ("Date from", since), ("Date to", until)):
        assert f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" in some.index
    assert none.finished == Finished(0, "No conversations found matching the filters.\n", "")
    assert not none.directory.exists()
