/**
 * Texts for comparing tokenizers: what people write, and the edges where rules of cutting differ.
 *
 * @module
 */

const WORDS = [
  ..."the of Gravity curvature HTTPServer getElementById naïve Straße Größe élève ŁÓDŹ İstanbul"
    .split(
      " ",
    ),
  ..."don't DON'T I'll we've they're can'T 'S 'ſ 'Ll 'RE 'x ' '' 'sun it’s d'accord".split(" "),
  ..."привет Мир ЁЖ Ελληνικά ὈΔΥΣΣΕΎΣ שלום مرحبا العَرَبِيَّة हिन्दी क्षत्रिय বাংলা தமிழ் ไทยแลนด์ ລາວ".split(
    " ",
  ),
  ..."日本語 ひらがな カタカナ ｶﾞｷﾞ 漢字仮名交じり文 中文字符 你好，世界。 한국어 각 ᄀ".split(" "),
  ..."e\u0301 a\u0323\u0301 \u0301x x\u0308\u0304 ﬁn Ⅷ ⅷ ½ ² ٣ ١٢٣ १२ ２０ 〇 Ⓐ ㊿ 𝟘𝟙 𝒜 𐐨𐐀 ǅ ʰ ª"
    .split(" "),
  ..."😀 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ☃ € © → ≠ ∑ … — „Q“ «x»".split(" "),
  ...'foo(bar); a[i]++ x==y!= <div>\t</div> #include "q" //c /*d*/ \\n $x {y} a_b __init__ C++'
    .split(" "),
  ..."0 7 42 123 1234 12345 1,234.5 3.14e-10 0x1F 2024-01-31 10:00".split(" "),
  "</s>",
  "<s>",
  "<|endoftext|>",
  "<|im_end|>",
  "▁",
  "▁▁x",
  "Ġ",
  "\0",
  "\x7f",
  "\x1c",
  "\u200b",
  "\u200d",
  "\ufeff",
  "\ufffd",
  "\u00ad",
  "\ue000",
];
const GAPS = [
  " ",
  " ",
  " ",
  " ",
  "",
  "",
  "  ",
  "   ",
  "\n",
  "\n\n",
  " \n",
  "\n ",
  "\r\n",
  "\r",
  "\t",
]
  .concat([
    "\u00a0",
    "\u3000",
    "\u0085",
    "\u2028",
    "\ufeff",
    " \u2003",
    "\v",
    "\f",
    "    \n\n    ",
  ]);

/** Numbers from 0 to 1, the same each time (mulberry32). */
function randomNumbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @param ownTokens added tokens of the tokenizer */
export function textsFor(ownTokens: readonly string[], count: number): string[] {
  const random = randomNumbers(12);
  const one = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)]!;
  const texts = ["", " ", "  ", "\n", " \n ", ...WORDS, ...WORDS.map((word) => ` ${word}`)];
  while (texts.length < count) {
    let text = "";
    const length = 1 + Math.floor(random() ** 2 * 40);
    for (let i = 0; i < length; i++) {
      const kind = random();
      text += one(GAPS);
      if (kind < 0.03 && ownTokens.length > 0) text += one(ownTokens);
      else if (kind < 0.08) text += String.fromCodePoint(0x20 + Math.floor(random() * 0x2e0));
      else text += one(WORDS);
    }
    texts.push(text);
  }
  return texts;
}

/** How many texts are compared. */
export const TEXTS = 2300;

/** Stands for the ids of many texts. */
export async function digest(ids: readonly (readonly number[])[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(ids));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
