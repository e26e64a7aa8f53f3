"""CLIP's byte pair encoding by the Python package `tokenizers`, or by open_clip's own
tokenizer in Python, to measure `novic` against.

    tokenizing.py FOLDER [--open-clip]

FOLDER holds `texts.txt`, written by `cargo bench --bench embedders -- write=FOLDER`.
"""

import argparse
import gzip
import pathlib

from turns import serve

MERGES = pathlib.Path(__file__).resolve().parents[2] / "extras/tokenizer/clip_merges.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"


def library():
    """CLIP's tokenizer, built as the files of its repositories describe it."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    with gzip.open(MERGES, "rt", encoding="utf-8") as file:
        merges = [tuple(line.split()) for line in file.read().splitlines()[1 : 49152 - 256 - 2 + 1]]
    letters = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    characters = [chr(byte) for byte in letters] + [chr(256 + number) for number in range(256 - len(letters))]
    words = characters + [f"{character}</w>" for character in characters]
    words += [left + right for left, right in merges] + [START, END]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=END, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.enable_truncation(77)

    def count(texts):
        return sum(len(ids) for ids in [encoding.ids for encoding in tokenizer.encode_batch(texts)])

    return count


def of_open_clip():
    import open_clip

    tokenizer = open_clip.SimpleTokenizer()

    def count(texts):
        return int((tokenizer(texts) != 0).sum())

    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--open-clip", action="store_true")
    options = parser.parse_args()
    texts = (options.folder / "texts.txt").read_text(encoding="utf-8").splitlines()
    count = of_open_clip() if options.open_clip else library()
    serve("open_clip tokenize" if options.open_clip else "tokenizers tokenize", lambda: count(texts))


if __name__ == "__main__":
    main()
