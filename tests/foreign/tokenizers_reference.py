"""Token ids of the `tokenizers` package. usage: tokenizers_reference.py TOKENIZER_JSON < texts > ids (JSON)"""

import json
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
texts = json.load(sys.stdin)
json.dump([tokenizer.encode(text, add_special_tokens=False).ids for text in texts], sys.stdout)
