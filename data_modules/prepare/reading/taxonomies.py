"""The published forms of Google's, Shopify's and GS1's trees, as columns key, name and path."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any
from xml.etree import ElementTree

from data_modules.prepare.mapping.files import FileOptions
from data_modules.prepare.reading.csv_lines import LINE_END
from data_modules.prepare.reading.excel_records import ExcelReader
from data_modules.prepare.reading.records import RawBatch, Tally
from data_modules.prepare.reading.streams import TextBlocks
from hierarchy_lm.errors import UserError

COLUMNS = ("key", "name", "path")
TREE_FORMATS = ("google", "shopify", "gs1")
GOOGLE = re.compile(r"(?:(?P<key>\d+) - )?(?P<path>\S.*)")
SHOPIFY = re.compile(r"(?P<key>gid://\S+)\s+:\s+(?P<path>\S.*)")
GPC_LEVELS = ("segment", "family", "class", "brick")

Node = tuple[str | None, list[str]]
"""Key and path of a node."""


class TreeReader:
    """Reads a whole tree; every node is a record.

    Args:
        blocks: The file's text.
        kind: ``google`` (taxonomy.*.txt with or without ids), ``shopify`` (categories.txt or
            categories.json) or ``gs1`` (GPC as XML or JSON, down to the brick).

    Raises:
        UserError: If the file is not of this form; names the line where it has lines.
    """

    def __init__(self, blocks: TextBlocks, kind: str) -> None:
        self.label = blocks.label
        self.tally = Tally(columns=dict.fromkeys(COLUMNS))
        text = "".join(blocks)
        if kind == "gs1":
            self._nodes = self._gpc(text)
        elif kind == "shopify" and text.lstrip().startswith("{"):
            self._nodes = self._shopify_json(text)
        else:
            self._nodes = list(self._lines(text, GOOGLE if kind == "google" else SHOPIFY))

    @classmethod
    def excel(cls, stream: IO[bytes], options: FileOptions, label: str) -> "TreeReader":
        """GS1's Excel file: a row per brick and attribute, a code and a title per level."""
        self = cls.__new__(cls)
        self.label = label
        self.tally = Tally(columns=dict.fromkeys(COLUMNS))
        self._nodes = self._gpc_rows(ExcelReader(stream, options, label))
        return self

    def batches(self, wanted: Sequence[str]) -> Iterator[RawBatch]:
        """All nodes at once."""
        columns: dict[str, list[Any]] = {
            "key": [key for key, _ in self._nodes],
            "name": [path[-1] for _, path in self._nodes],
            "path": [path for _, path in self._nodes],
        }
        self.tally.records = len(self._nodes)
        yield RawBatch(1, len(self._nodes), {name: columns[name] for name in wanted})

    def _lines(self, text: str, form: "re.Pattern[str]") -> Iterator[Node]:
        for number, line in enumerate(LINE_END.split(text.rstrip("\r\n")), start=1):
            if not line.strip():
                self.tally.left_out["blank lines"] += 1
            elif line.startswith("#"):
                self.tally.left_out["comment lines"] += 1
            elif node := form.fullmatch(line.strip()):
                yield node["key"], node["path"].split(" > ")
            else:
                raise UserError(
                    f"{self.label}: line {number} is no node of this form: '{line.strip()[:60]}'; "
                    "check 'format'"
                )

    def _shopify_json(self, text: str) -> list[Node]:
        try:
            verticals = json.loads(text)["verticals"]
            categories = [item for vertical in verticals for item in vertical["categories"]]
            return [(item["id"], item["full_name"].split(" > ")) for item in categories]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.label}: no categories.json of Shopify ({error!r}); check 'format'"
            ) from error

    def _gpc(self, text: str) -> list[Node]:
        try:
            if text.lstrip().startswith("<"):
                return [*_xml_nodes(ElementTree.fromstring(text), [])]
            content = json.loads(text)
            return [*_json_nodes(content if isinstance(content, list) else content["Schema"], [])]
        except (ElementTree.ParseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.label}: no GPC of GS1 in XML or JSON ({error!r}); check 'format'"
            ) from error

    def _gpc_rows(self, reader: ExcelReader) -> list[Node]:
        plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reader.names}
        names = [plain.get(f"{level}{part}") for level in GPC_LEVELS for part in ("code", "title")]
        if None in names:
            there = ", ".join(reader.names[:12])
            raise UserError(
                f"{self.label}: no GPC of GS1, which has SegmentCode, SegmentTitle and so on to "
                f"BrickTitle; it has {there}"
            )
        nodes: dict[str, list[str]] = {}
        for batch in reader.batches([name for name in names if name]):
            for row in zip(*(batch.columns[name] for name in names if name), strict=True):
                path: list[str] = []
                for code, title in zip(row[::2], row[1::2], strict=True):
                    if code is not None:
                        path = [*path, str(title)]
                        nodes.setdefault(str(code), path)
        return [*nodes.items()]


def _xml_nodes(element: ElementTree.Element, above: list[str]) -> Iterator[Node]:
    for child in element:
        if child.tag.rpartition("}")[2] in GPC_LEVELS:
            path = [*above, child.attrib["text"]]
            yield child.attrib["code"], path
            yield from _xml_nodes(child, path)
        elif not above:  # a wrapper around the segments
            yield from _xml_nodes(child, above)


def _json_nodes(items: list[dict[str, Any]], above: list[str]) -> Iterator[Node]:
    for item in items:
        if int(item["Level"]) <= len(GPC_LEVELS):
            path = [*above, item["Title"]]
            yield str(item["Code"]), path
            yield from _json_nodes(item.get("Childs") or [], path)
