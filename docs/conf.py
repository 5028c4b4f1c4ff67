"""The site (`make site`): the notebooks with their stored outputs, other pages, and a reference.

Its source folder is the checkout, so a link leads where it leads on GitHub. Pages ask no other host
for anything.
"""

from __future__ import annotations

import re
from operator import attrgetter

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import course_lib
from course_lib import checks

project = "Three stages of an image classifier"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["C*.md", "docs/*.md", "notebooks/[0-9][0-9]_*.ipynb", "notebooks/*.md"]
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
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["redirect"]  # the root of the site leads to docs/index.html
html_math_renderer = "mathml"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False


def no_other_host(app, page, content):
    """Show the text of an image that lies elsewhere, such as Colab's badge.

    content: a list of one text, which is changed; of a notebook, its JSON.
    """
    content[0] = re.sub(r"!\[([^\]]*)\]\(https?:[^)]*\)", r"\1", content[0])


def described() -> dict[str, list[str]]:
    """What the reference describes, {module: names}; both are relative to `course_lib`.

    That's all the library exports, the classes of what it returns, and the checks.
    """
    modules = {}
    for name, thing in vars(course_lib).items():
        module = getattr(thing, "__module__", "")
        if module.startswith("course_lib."):
            modules.setdefault(module.removeprefix("course_lib."), []).append(name)
    modules["experiment"] += ["experiment.Course", "experiment.Stage"]
    modules["settings"] = ["settings.Settings"]
    modules["data.bank"] = ["data.bank.Bank", "data.bank.Images"]
    modules["checks"] = [f"checks.{name}" for name in checks.__all__]
    return modules


def reference(app, page, content):
    """Append the reference to docs/api.md, by module. content: a list of one text."""
    if page != "docs/api":
        return
    for module, names in described().items():
        lines = [
            "",
            f"## {module}",
            "",
            "```{eval-rst}",
            f".. automodule:: course_lib.{module}",
            "",
        ]
        for name in names:
            if isinstance(attrgetter(name)(course_lib), type):
                lines.append(f".. autoclass:: course_lib.{name}")
                lines.append("   :members:")
            else:
                lines.append(f".. autofunction:: course_lib.{name}")
        lines += ["```", ""]
        content[0] += "\n".join(lines)


def as_plain_text(app, what, name, thing, options, lines):
    """Docstrings are plain text with `code` and *emphasis*: nothing else in them is markup."""

    def escaped(found):
        emphasis, markup = found.groups()
        return emphasis or rf"\{markup}"

    for number, line in enumerate(lines):
        plain = ""
        for part in re.split("(`[^`]+`)", line):
            if len(part) > 2 and part[0] == part[-1] == "`":
                plain += f"`{part}`"  # code: reStructuredText has two backquotes
            else:
                plain += re.sub(r"(\*\w+\*)|([\\*_|`])", escaped, part)
        lines[number] = plain


def formula(as_block):
    """What Sphinx calls at a formula's beginning and end.

    It's written as MathML, which browsers show without a script.
    """

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
