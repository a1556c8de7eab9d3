"""A README as a person walks it: its shell commands, line by line, and its examples of files. Knows no command."""

import re
from pathlib import Path


class Readme:
    """The fenced blocks of a Markdown page, each with the words of its heading or of the bold line it stands below."""

    def __init__(self, page: Path):
        self.blocks: list[tuple[str, str, str]] = []
        title, kind, lines = "", None, []
        for line in page.read_text().splitlines():
            if kind is not None:
                if line.strip() == "```":
                    self.blocks.append((title, kind, "\n".join(lines) + "\n"))
                    kind = None
                else:
                    lines.append(line)
            elif fence := re.fullmatch(r"```(\w*)", line):
                kind, lines = fence.group(1), []
            elif heading := re.match(r"#+ +(.+)|\*\*(.+?)\*\*", line):
                title = heading.group(1) or heading.group(2)

    def block(self, title: str, kind: str = "sh") -> str:
        """The one block of this kind below this title."""
        (text,) = [text for below, of, text in self.blocks if below == title and of == kind]
        return text

    def commands(self, title: str) -> list[str]:
        """The commands of a block, each with its comment; a line that ends with a backslash goes on."""
        text = self.block(title).replace("\\\n", " ")
        return [line for line in text.splitlines() if line.strip()]
