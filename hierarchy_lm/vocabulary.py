"""Loading a tokenizer, and the hash that keeps a model and its token ids together."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from hierarchy_lm.errors import UserError
from hierarchy_lm.text import SpecialTokens


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer with what a model must know of it.

    Attributes:
        source: Folder or hub id that it was loaded from.
        tokenizer: Fast tokenizer, without truncation or padding.
        special: Ids of [CLS], [SEP] and padding.
        size: One more than the highest token id, added tokens included; ids may have gaps.
        special_ids: Ids of all special tokens, [UNK] included.
        mask: Id of [MASK]; None if there is none.
    """

    source: str
    tokenizer: Tokenizer
    special: SpecialTokens
    size: int
    special_ids: tuple[int, ...]
    mask: int | None

    def mask_for(self, method: str) -> int:
        """Id of [MASK], for a method that cannot do without.

        Raises:
            UserError: If there is none.
        """
        if self.mask is None:
            raise UserError(
                f"tokenizer '{self.source}': has no mask token, so {method} is not possible; use "
                "another one"
            )
        return self.mask

    def save(self, folder: Path) -> None:
        """Write the tokenizer as a Hugging Face folder."""
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(self.source, trust_remote_code=False).save_pretrained(folder)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the whole tokenizer: vocabulary, normaliser, splitting."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()


@lru_cache(maxsize=4)
def load_vocabulary(source: str) -> Vocabulary:
    """Load the tokenizer of a Hugging Face folder or hub id.

    Raises:
        UserError: If there is none, it is broken, empty or no fast tokenizer, or it lacks [CLS],
            [SEP] or padding.
    """
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # a broken file ends in whatever its reader stumbles over
        where = (
            "no readable tokenizer there"
            if Path(source).is_dir()
            else "neither a folder nor on the hub"
        )
        raise UserError(
            f"tokenizer '{source}': {where} ({_first_line(error)}); "
            "give a folder with a tokenizer.json"
        ) from error
    if not loaded.is_fast:
        raise UserError(f"tokenizer '{source}': has no tokenizer.json; convert it to a fast one")
    if not set(loaded.get_vocab()) - set(loaded.all_special_tokens):
        # What transformers makes of a folder with a config.json alone.
        raise UserError(
            f"tokenizer '{source}': has no vocabulary; give a folder with a tokenizer.json"
        )
    ids = (loaded.cls_token_id, loaded.sep_token_id, loaded.pad_token_id)
    if None in ids:
        raise UserError(f"tokenizer '{source}': lacks a [CLS], [SEP] or padding token")
    tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Vocabulary(
        source,
        tokenizer,
        SpecialTokens(*ids),
        size=max(loaded.get_vocab().values()) + 1,
        special_ids=tuple(sorted(loaded.all_special_ids)),
        mask=loaded.mask_token_id,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
