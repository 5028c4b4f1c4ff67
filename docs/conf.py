"""The site (`make site`): the notebooks with their stored outputs, the pages beside them, and the
library's reference.

Its source folder is the checkout, so a link leads where it leads on GitHub. Pages ask no other host
for anything.
"""

import re

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import course_lib
from course_lib import checks, experiment
from course_lib.data import bank

project = html_title = "Three stages of an image classifier"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "notebooks/[0-9][0-9]_*.ipynb", "notebooks/*.md"]
include_patterns += ["results/*.md", "benchmarks/*.md"]
exclude_patterns = [".*", "runs", "build", "notebooks/*-Copy*"]
smartquotes = False
suppress_warnings = ["myst-nb.lexer"]  # a notebook that was never run has no colours yet
nb_execution_mode = "off"
highlight_language = "none"  # a block of code that needs colours names its language
nb_merge_streams = True
nb_ipywidgets_js = {}  # it would come from another host, and no notebook stores widgets
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
html_theme = "sphinx_book_theme"
html_theme_options = {
    "footer_content_items": "",  # no author, no copyright: LICENSE says it
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has a search field already
    "show_toc_level": 2,
    "use_download_button": False,
}
html_static_path, html_css_files = ["static"], ["site.css"]
html_extra_path = ["redirect"]  # the root of the site leads to docs/index.html
html_math_renderer = "mathml"
html_show_copyright = html_show_sourcelink = html_copy_source = False


def no_other_host(app, page, content):
    """Show the text of an image that lies elsewhere, such as Colab's badge; in a notebook this is
    its JSON."""
    content[0] = re.sub(r"!\[([^\]]*)\]\(https?:[^)]*\)", r"\1", content[0])


def is_public(name, value, module):
    return name[0] != "_" and getattr(value, "__module__", "") == module.__name__


def reference(app, page, content):
    """Append to docs/api.md what `course_lib` exports, the classes of what that returns, and the
    checks, by module."""
    if page != "docs/api":
        return
    described, modules = dict(vars(course_lib)), {}
    described |= {
        f"experiment.{name}": getattr(experiment, name) for name in ("Course", "Stage", "Settings")
    }
    described |= {f"data.bank.{name}": getattr(bank, name) for name in ("Bank", "Images")}
    described |= {
        f"checks.{name}": value
        for name, value in vars(checks).items()
        if is_public(name, value, checks)
    }
    for name, value in described.items():
        module = getattr(value, "__module__", "")
        if module.startswith("course_lib."):
            modules.setdefault(module, []).append(
                f"{'class' if isinstance(value, type) else 'function'}:: {name}"
            )
    for module, names in modules.items():
        content[0] += (
            f"\n## {module.removeprefix('course_lib.')}\n\n```{{eval-rst}}\n.. automodule:: {module}\n\n"
        )
        for name in names:
            content[0] += f".. auto{name.replace(':: ', ':: course_lib.')}\n"
            content[0] += "   :members:\n" if name.startswith("class") else ""
        content[0] += "```\n"


def as_plain_text(app, what, name, thing, options, lines):
    """Docstrings are plain text with `code` and *emphasis*: nothing else in them is markup."""

    def escaped(found):
        return found[1] or rf"\{found[2]}"

    for number, line in enumerate(lines):
        parts = re.split("(`[^`]+`)", line)  # text, code, text, …
        parts[::2] = [re.sub(r"(\*\w+\*)|([\\*_|`])", escaped, part) for part in parts[::2]]
        parts[1::2] = [f"`{part}`" for part in parts[1::2]]
        lines[number] = "".join(parts)


def formula(as_block):
    """A visitor that writes a formula as MathML, which browsers show without a script."""

    def visit(translator, node):
        try:
            mathml = tex2mathml(node.astext(), as_block=as_block)
        except MathError as error:
            logging.getLogger(__name__).warning(
                "docutils can't read the formula %s: %s", node.astext(), error
            )
            raise SkipNode from error
        # "log p" with a space; a parenthesis needs none.
        translator.body.append(
            re.sub(r"<mo>&ApplyFunction;</mo>(?!\s*<mo)", '<mspace width="0.17em"/>', mathml)
        )
        raise SkipNode

    return visit, None


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", no_other_host)
    app.connect("source-read", reference)
    app.connect("autodoc-process-docstring", as_plain_text)
    app.add_html_math_renderer("mathml", formula(as_block=False), formula(as_block=True))
