#!/usr/bin/env python3
"""Writes a language model that fits into a pocket and says nothing: one layer of chance over a few hundred words.

It is there to talk to a real server of language models over HTTP, where what is said is of no matter:

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install 'llama-cpp-python[server]' gguf numpy    # builds llama.cpp: minutes
    /tmp/llama/bin/python scripts/tiny_gguf.py tiny.gguf
    /tmp/llama/bin/python -m llama_cpp.server --model tiny.gguf --model_alias tiny --n_ctx 4096 --port 8089
    target/release/stenopool serve --model demo --tts espeak --llm-url http://127.0.0.1:8089/v1 --llm-model tiny --reply-tokens 40
    scripts/converse.py --url http://127.0.0.1:8080/v1

The file is in GGUF, with llama's architecture and a tokenizer that falls back on bytes, so that it can be told anything. The
first number of every state is the same: through it words are likely, bytes are not, and a sentence ends now and then.
Needs `gguf` and `numpy`.
"""
import argparse

import gguf
import numpy

WORDS = """the a my your this that every no one two three good small green quiet old open warm round slow river garden window letter morning
friend table story answer question number kitchen ocean winter paper music engine orange shadow ticket reads opens finds likes takes leaves
brings keeps turns sings asks paints and but because when where near under over behind before after again often never maybe today there here
slowly kindly indeed""".split()
STOPS = [".", ",", "?"]
SPECIAL = ["<unk>", "<s>", "</s>"]
END = SPECIAL.index("</s>")
WIDTH, HEADS, INNER, CONTEXT = 64, 4, 128, 8_192
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + (message['content'] or '') + '\n' }}{% endfor %}assistant:"


def vocabulary():
    """Tokens, their scores and their types."""
    kind = gguf.TokenType
    tokens = [(token, 0.0, kind.UNKNOWN if token == "<unk>" else kind.CONTROL) for token in SPECIAL]
    tokens += [(f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)]
    tokens += [(f"▁{word}", -float(n), kind.NORMAL) for n, word in enumerate(WORDS)]
    tokens += [(stop, -1_000.0 - n, kind.NORMAL) for n, stop in enumerate(STOPS)]
    return tokens


def weights(n_tokens):
    """All tensors by name."""
    chance = numpy.random.default_rng(7)

    def dense(out, into):
        return (chance.standard_normal((out, into)) * 0.3 / into**0.5).astype(numpy.float32)

    embedding, output = (chance.standard_normal((n_tokens, WIDTH)).astype(numpy.float32) for _ in range(2))
    embedding[:, 0] = 4.0
    output *= 0.3
    # How likely each token is, whatever was said before.
    output[:, 0] = -10.0
    output[len(SPECIAL) + 256 :, 0] = 1.0
    output[-len(STOPS) :, 0] = 1.5
    output[END, 0] = 1.3
    ones = numpy.ones(WIDTH, dtype=numpy.float32)
    return {
        "token_embd.weight": embedding,
        "blk.0.attn_norm.weight": ones,
        **{f"blk.0.attn_{part}.weight": dense(WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_norm.weight": ones,
        "blk.0.ffn_gate.weight": dense(INNER, WIDTH),
        "blk.0.ffn_up.weight": dense(INNER, WIDTH),
        "blk.0.ffn_down.weight": dense(WIDTH, INNER),
        "output_norm.weight": ones,
        "output.weight": output,
    }


def write(path):
    tokens = vocabulary()
    file = gguf.GGUFWriter(path, "llama")
    file.add_name("tiny")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(1)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_vocab_size(len(tokens))
    file.add_file_type(gguf.LlamaFileType.ALL_F32)
    file.add_tokenizer_model("llama")
    file.add_token_list([token for token, _, _ in tokens])
    file.add_token_scores([score for _, score, _ in tokens])
    file.add_token_types([kind for _, _, kind in tokens])
    file.add_unk_token_id(0)
    file.add_bos_token_id(1)
    file.add_eos_token_id(END)
    file.add_chat_template(TEMPLATE)
    for name, tensor in weights(len(tokens)).items():
        file.add_tensor(name, tensor)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="where to, as in tiny.gguf")
    write(parser.parse_args().path)
