"""The pages of the site that are at the root of the checkout: their content, and the links."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def address(name: str) -> str:
    """Return the address of one of these pages within the site."""
    return "reporting.md" if name == "SECURITY.md" else name.lower()  # security.md is in docs/


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name in PAGES:
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, address(name), content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the text of a page with links that lead to these pages, and from them into `docs/`."""
    markdown = markdown.replace("](docs/", "](").replace("](../", "](")
    for name in PAGES:
        markdown = markdown.replace(f"]({name}", f"]({address(name)}")
    return markdown
