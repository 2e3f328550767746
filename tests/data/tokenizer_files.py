"""Tiny tokenizers in the styles of the families, trained on the text below."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

BYTE_VOCABULARY = 303  # 256 bytes and 47 merges

CORPUS = [
    "The hearth keeps the house warm. When the fire burns low, somebody puts on another log.",
    "A small model reads a prompt and writes one token after another token, until it is done.",
    "It was the best thing that they had ever seen, and they'd said that there wasn't another.",
    "We're here, you've been there, I'll go and he'd stay; isn't that what we'd wanted?",
    "In 1969 there were 2 people on the moon; in 2024 there were 0 of them, 100% fewer.",
    "Der Ofen wärmt das Haus, während draußen der Wind über die Dächer fährt.",
    "Le café est déjà prêt, et l'été s'achève à la plage où l'on a si bien mangé.",
    "def main(args):\n    for name in args:\n        print(name)\n\n    return 0\n",
    "<html>\n\t<body>Hello, world! Hello there...</body>\n</html>\n",
    "the the the and and and that that in in on to to of of is it   with    spaces",
] * 3

# 40 strings that any tokenizer must take; the ones with control tokens come with each style.
TEXTS = [
    "",
    " ",
    "  ",
    "   three leading spaces",
    "a",
    " a",
    "Hello, world!",
    "hello  double  spaces   and more    here",
    "trailing space ",
    "trailing spaces   ",
    "\n",
    "\n\n\nnew lines\n\n",
    "line one\nline two\r\nline three\r",
    "\ttab\t\ttabs",
    " \n \n mixed \t white",
    "0",
    "7 and 42 and 123 and 1234 and 1234567890",
    "3.14159, -2e10, 1,000,000 and 0x1F",
    "½ ² Ⅷ ٣ ๓ 三",
    "It's they're I'd we'll you've I'm isn't",
    "IT'S THEY'RE WE'LL'S",
    "the hearth keeps the house warm",
    "naïve café über straße",
    "e\u0301 is not \u00e9",
    "Привет, мир",
    "你好，世界",
    "こんにちは世界。カタカナ",
    "안녕하세요 세계",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "😀",
    "family: 👨‍👩‍👧‍👦 flag: 🇮🇹 thumbs: 👍🏽",
    "a\u00a0b\u2003c\u200bd\u3000e",
    "zero\u0000byte and \u0007bell",
    "!!! ??? ... --- ### $$$ @@@",
    "def f(x):\n    return x  # twice\n",
    "https://example.org/path?query=1&other=%20#part",
    "CamelCase snake_case kebab-case SCREAMING",
    "\ufeffbom and \ufffd replacement",
    "supercalifragilisticexpialidocious " * 3,
]

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Llama 3 takes digits by up to three, Qwen2 one by one; the rest is the same.
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHATML = (
    "{%- if not messages or messages[0]['role'] != 'system' -%}"
    "{{ '<|im_start|>system\\nAnswer in few words.<|im_end|>\\n' }}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
HEADERS = (
    "{{- bos_token }}\n"
    "{%- for message in messages %}\n"
    "    {{- '<|header|>' + message.role + '<|/header|>\\n\\n' }}\n"
    "    {{- message.content | trim + '<|eot|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|header|>assistant<|/header|>\\n\\n' }}{% endif %}\n"
)
INST = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate, user first') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)

CONVERSATIONS = [
    [{"role": "user", "content": "Why is the hearth warm?"}],
    [
        {"role": "user", "content": "  Count to 3. "},
        {"role": "assistant", "content": "1 2 3"},
        {"role": "user", "content": "And\nback?"},
    ],
]


@dataclass
class TinyTokenizer:
    """A tokenizer.json, what tokenizer_config.json says about it, and its GGUF metadata."""

    name: str
    tokenizer: Tokenizer
    control: list[str]  # control tokens, in the order of their ids
    bos: str | None
    eos: str
    adds_bos: bool
    chat_template: str | None = None
    template_in_own_file: bool = False
    gguf_model: str = "gpt2"
    gguf_pre: str | None = None
    scores: list[float] = field(default_factory=list)
    tokenizer_class: str = "PreTrainedTokenizerFast"

    def write(self, folder: Path) -> None:
        document = json.loads(self.tokenizer.to_str())
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
        config = {
            "tokenizer_class": self.tokenizer_class,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "add_bos_token": self.adds_bos,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
        }
        if self.chat_template is not None:
            if self.template_in_own_file:
                (folder / "chat_template.jinja").write_text(self.chat_template)
            else:
                config["chat_template"] = self.chat_template
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")

    def control_texts(self) -> list[str]:
        """Control tokens in the middle of text: they are tokens, not characters."""
        first, last = self.control[0], self.control[-1]
        return [
            last,
            f"{first}{last}",
            f"before {last} after",
            f"before{last}after {first} x{last}",
            f"{last}  two spaces\n{last}\n",
            f"almost {last[:-1]} one",
        ]

    def render(self, messages: list[dict]) -> str:
        """The chat template as Transformers runs it."""
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered, _ = render_jinja_template(
            conversations=[messages],
            chat_template=self.chat_template,
            add_generation_prompt=True,
            bos_token=self.bos,
            eos_token=self.eos,
        )
        return rendered[0]


def train_bytes(pre_tokenizer, specials_first: list[str], size: int) -> Tokenizer:
    """Byte-level BPE as GPT-2 has it, on CORPUS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials_first,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    assert tokenizer.get_vocab_size() == size, tokenizer.get_vocab_size()
    return tokenizer


def prepend(tokenizer: Tokenizer, bos: str):
    """The post-processor that puts `bos` in front."""
    return processors.TemplateProcessing(
        single=[bos, "$A"],
        pair=[bos, "$A", bos, "$B:1"],
        special_tokens=[(bos, tokenizer.token_to_id(bos))],
    )


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def split_by(pattern: str):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def smollm() -> TinyTokenizer:
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    digits = pre_tokenizers.Digits(individual_digits=True)
    pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level()])
    tokenizer = train_bytes(pre_tokenizer, control, BYTE_VOCABULARY + 3)
    tokenizer.add_tokens([AddedToken("<repo_name>", special=True, normalized=False)])
    return TinyTokenizer(
        "smollm", tokenizer, [*control, "<repo_name>"], bos="<|im_start|>", eos="<|im_end|>",
        adds_bos=False, chat_template=CHATML, gguf_pre="smollm", tokenizer_class="GPT2Tokenizer",
    )


def llama_bpe() -> TinyTokenizer:
    control = ["<|begin_of_text|>", "<|eot|>", "<|header|>", "<|/header|>"]
    pattern = LLAMA3_PATTERN.replace("DIGITS", "{1,3}")
    tokenizer = train_bytes(split_by(pattern), [], BYTE_VOCABULARY)
    tokenizer.model.ignore_merges = True
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    tokenizer.post_processor = prepend(tokenizer, "<|begin_of_text|>")
    return TinyTokenizer(
        "llama-bpe", tokenizer, control, bos="<|begin_of_text|>", eos="<|eot|>",
        adds_bos=True, chat_template=HEADERS, gguf_pre="llama-bpe",
    )


def qwen2() -> TinyTokenizer:
    control = ["<|unused|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = train_bytes(split_by(LLAMA3_PATTERN.replace("DIGITS", "")), [], BYTE_VOCABULARY)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return TinyTokenizer(
        "qwen2", tokenizer, control, bos=None, eos="<|im_end|>", adds_bos=False,
        chat_template=CHATML, template_in_own_file=True, gguf_pre="qwen2",
        tokenizer_class="Qwen2Tokenizer",
    )


def opt() -> TinyTokenizer:
    control = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = train_bytes(byte_level(), control, BYTE_VOCABULARY + 4)
    tokenizer.post_processor = prepend(tokenizer, "</s>")
    return TinyTokenizer(
        "opt", tokenizer, control, bos="</s>", eos="</s>", adds_bos=True,
        tokenizer_class="GPT2Tokenizer",
    )


def llama() -> TinyTokenizer:
    """SentencePiece BPE with byte fallback, and the tokenizer.json that stands for it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=353,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=0.99,
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    scores = [processor.get_score(i) for i in range(len(pieces))]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=merges_from_scores(pieces),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    # Llama's legacy settings: a space before every stretch of text, after control tokens too.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    control = ["<unk>", "<s>", "</s>"]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    tokenizer.post_processor = prepend(tokenizer, "<s>")
    for text in TEXTS:
        expected = processor.encode(text)
        actual = tokenizer.encode(text, add_special_tokens=False).ids
        assert actual == expected, f"tokenizer.json differs from SentencePiece on {text!r}"
    return TinyTokenizer(
        "llama", tokenizer, control, bos="<s>", eos="</s>", adds_bos=True, chat_template=INST,
        gguf_model="llama", scores=scores, tokenizer_class="LlamaTokenizer",
    )


def merges_from_scores(pieces: list[str]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, in the order of the pieces' scores.

    SentencePiece numbers BPE pieces by falling score, so the order of ids is the order of merges.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [pair for pair in splits if pair[0] in ids and pair[1] in ids]
        merges += sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    return merges


def all_tokenizers() -> dict[str, TinyTokenizer]:
    made = [smollm(), llama_bpe(), qwen2(), opt(), llama()]
    return {tiny.name: tiny for tiny in made}


def tokenizer_golden(tiny: TinyTokenizer, texts: list[str]) -> dict:
    """The contents of tokenizer_golden.json: token ids, decoded text and rendered chats."""
    tokenizer = tiny.tokenizer
    bos = [tokenizer.token_to_id(tiny.bos)] if tiny.adds_bos else []
    cases = []
    for text in [*texts, *tiny.control_texts()]:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text).ids == bos + tokens
        case = {"text": text, "tokens": tokens}
        decoded = tokenizer.decode(tokens, skip_special_tokens=False)
        if decoded != text:
            case["decoded"] = decoded
        cases.append(case)
    chats = []
    for messages in CONVERSATIONS if tiny.chat_template else []:
        rendered = tiny.render(messages)
        tokens = tokenizer.encode(rendered, add_special_tokens=False).ids
        chats.append({"messages": messages, "rendered": rendered, "tokens": tokens})
    return {"bos": bos, "cases": cases, "chats": chats}
