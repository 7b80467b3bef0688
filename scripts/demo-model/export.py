"""Exports a checkpoint of train.py: a ggml f16 file for whisper.cpp and a Hugging Face folder.

usage: export.py CHECKPOINT OUT_DIR [--raw] [--average CKPT ...]
Every unused token of the 51 864 gets the same learned 'unused' row (that is how it was trained)."""
import argparse
import base64
import json
import os
import re
import struct

import numpy as np
import torch

import data
from data import EOT, GGML_STUB, N_TS, N_VOCAB, TS0, Compact
from model import sinusoids

LANGS = ("en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th "
         "ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr "
         "pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt "
         "haw ln ha ba jw su").split()


def full_state(ck, raw=False):
    """OpenAI-named state dict with the full token table."""
    sd = {k: v.float() for k, v in (ck["model"] if raw else ck["ema"]).items()}
    voc = Compact(ck["text"])
    rows = sd.pop("decoder.rows")
    ts = sinusoids(N_TS, rows.shape[1]) @ sd.pop("decoder.ts_map") + sd.pop("decoder.ts_bias")
    sd.pop("decoder.ts_basis")
    emb = rows[voc.unused][None].repeat(N_VOCAB, 1)
    for t, i in voc.of.items():
        emb[t] = rows[i]
    emb[TS0:TS0 + N_TS] = ts
    sd["decoder.token_embedding.weight"] = emb
    return {k: v for k, v in sd.items() if not k.startswith("ctc.")}


def write_ggml(sd, dims, path):
    stub = open(GGML_STUB, "rb").read()
    d, h = dims["d"], dims["heads"]
    hp = [0x67676d6c, N_VOCAB, 1500, d, h, dims["enc"], 448, d, h, dims["dec"], 80, 1]
    with open(path, "wb") as f:
        f.write(struct.pack("12i", *hp))
        f.write(stub[48:])                       # mel filters and tokens; the stub has no tensors
        for name, t in sd.items():
            x = t.numpy()
            if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
                x = x.reshape(-1, 1)
            half = x.ndim >= 2 and "bias" not in name and "positional" not in name
            x = np.ascontiguousarray(x.astype(np.float16 if half else np.float32))
            nm = name.encode()
            f.write(struct.pack("3i", x.ndim, len(nm), int(half)))
            f.write(struct.pack(f"{x.ndim}i", *x.shape[::-1]))
            f.write(nm)
            x.tofile(f)


def hf_name(n):
    n = n.replace("blocks.", "layers.").replace("cross_attn_ln", "encoder_attn_layer_norm")
    n = n.replace("attn_ln", "self_attn_layer_norm") if "encoder_attn_layer_norm" not in n else n
    n = n.replace("cross_attn.", "encoder_attn.")
    n = re.sub(r"(?<!encoder_)\battn\.", "self_attn.", n)
    for a, b in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        n = n.replace("attn." + a, "attn." + b)
    n = n.replace("attn.out.", "attn.out_proj.").replace("mlp.0", "fc1").replace("mlp.2", "fc2")
    n = n.replace("mlp_ln", "final_layer_norm").replace("ln_post", "layer_norm")
    n = n.replace("decoder.ln.", "decoder.layer_norm.")
    n = n.replace("token_embedding", "embed_tokens")
    n = n.replace("positional_embedding", "embed_positions.weight")
    return "model." + n


def byte_chars():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return dict(zip(bs, map(chr, cs)))


def special_names():
    s = ["<|endoftext|>", "<|startoftranscript|>"] + [f"<|{x}|>" for x in LANGS]
    s += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"]
    assert len(LANGS) == 99 and EOT + len(s) == TS0
    return s + [f"<|{i * 0.02:.2f}|>" for i in range(N_TS)]


TIKTOKEN = os.environ.get("GPT2_TIKTOKEN", "gpt2.tiktoken")


def exact_tokens():
    """GPT-2's tokens as bytes.  (The ggml stub has lost the bytes of tokens that are no valid UTF-8;
    the file gpt2.tiktoken of the PyPI package openai-whisper has them.)"""
    t = {}
    for line in open(TIKTOKEN, "rb"):
        if line.strip():
            b, r = line.split()
            t[int(r)] = base64.b64decode(b)
    return [t[i] for i in range(EOT)]


def write_tokenizer(out):
    bc = byte_chars()
    toks = exact_tokens()
    rank = {t: i for i, t in enumerate(toks)}
    uni = lambda b: "".join(bc[c] for c in b)
    vocab = {uni(t): i for i, t in enumerate(toks)}
    assert len(vocab) == EOT
    merges = []
    for i, t in enumerate(toks):
        if len(t) == 1:
            continue
        parts = [bytes([c]) for c in t]          # the two pieces that merge last below rank i
        while len(parts) > 2:
            r = [(rank.get(parts[k] + parts[k + 1], 1 << 30), k) for k in range(len(parts) - 1)]
            rk, k = min(r)
            assert rk < i
            parts[k:k + 2] = [parts[k] + parts[k + 1]]
        merges.append([uni(parts[0]), uni(parts[1])])
    sp = special_names()
    added = [dict(id=EOT + i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False,
                  special=True) for i, s in enumerate(sp)]
    vocab["<|endoftext|>"] = EOT
    tok = dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None,
               pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
               post_processor=dict(type="TemplateProcessing",
                                   single=[{"SpecialToken": {"id": "<|startoftranscript|>", "type_id": 0}},
                                           {"SpecialToken": {"id": "<|notimestamps|>", "type_id": 0}},
                                           {"Sequence": {"id": "A", "type_id": 0}},
                                           {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
                                   pair=[{"Sequence": {"id": "A", "type_id": 0}},
                                         {"Sequence": {"id": "B", "type_id": 1}}],
                                   special_tokens={s: dict(id=s, ids=[EOT + sp.index(s)], tokens=[s]) for s in
                                                   ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")}),
               decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
               model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix="",
                          end_of_word_suffix="", fuse_unk=False, byte_fallback=False, ignore_merges=False,
                          vocab=vocab, merges=[" ".join(m) for m in merges]))
    json.dump(tok, open(out + "/tokenizer.json", "w"), ensure_ascii=False)
    json.dump({"tokenizer_class": "WhisperTokenizer", "model_max_length": 1024, "add_prefix_space": False,
               "unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
               "pad_token": "<|endoftext|>", "errors": "replace"}, open(out + "/tokenizer_config.json", "w"), indent=1)


def non_speech_tokens():
    syms = list("\"#()*+/:;<=>@[\\]^_`{|}~「」『』") + "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split()
    misc = set("♩♪♫♬♭♮♯")

    data.RANK = {t: i for i, t in enumerate(exact_tokens())}

    def enc(s):                                   # one BPE piece: enough for these
        return data._bpe(s.encode())
    res = {enc(" -")[0], enc(" '")[0]}
    for s in syms + list(misc):
        for t in (enc(s), enc(" " + s)):
            if len(t) == 1 or s in misc:
                res.add(t[0])
    return sorted(res) + [50257, 50357, 50358, 50359, 50360, 50361]


def write_hf(sd, dims, out):
    from safetensors.torch import save_file
    os.makedirs(out, exist_ok=True)
    save_file({hf_name(k): v.half().contiguous() for k, v in sd.items()}, out + "/model.safetensors",
              metadata={"format": "pt"})
    d = dims["d"]
    sup = non_speech_tokens()
    gen = dict(begin_suppress_tokens=[220, EOT], suppress_tokens=sup, bos_token_id=50257, eos_token_id=EOT, pad_token_id=EOT,
               decoder_start_token_id=50257, forced_decoder_ids=[[1, 50362]], is_multilingual=False,
               max_initial_timestamp_index=50, max_length=448, no_timestamps_token_id=50362,
               prev_sot_token_id=50360, return_timestamps=False,
               alignment_heads=[[dims["dec"] - 1, h] for h in range(dims["heads"])])
    cfg = dict(architectures=["WhisperForConditionalGeneration"], model_type="whisper", vocab_size=N_VOCAB,
               num_mel_bins=80, max_source_positions=1500, max_target_positions=448, d_model=d,
               encoder_layers=dims["enc"], encoder_attention_heads=dims["heads"], encoder_ffn_dim=4 * d,
               decoder_layers=dims["dec"], decoder_attention_heads=dims["heads"], decoder_ffn_dim=4 * d,
               num_hidden_layers=dims["enc"], activation_function="gelu", scale_embedding=False,
               is_encoder_decoder=True, use_cache=True, dropout=0.0, attention_dropout=0.0,
               activation_dropout=0.0, encoder_layerdrop=0.0, decoder_layerdrop=0.0, init_std=0.02,
               bos_token_id=50257, eos_token_id=EOT, pad_token_id=EOT, decoder_start_token_id=50257,
               begin_suppress_tokens=[220, EOT], suppress_tokens=sup, forced_decoder_ids=[[1, 50362]],
               max_length=448, tie_word_embeddings=True, torch_dtype="float16")
    json.dump(cfg, open(out + "/config.json", "w"), indent=1)
    json.dump(gen, open(out + "/generation_config.json", "w"), indent=1)
    json.dump(dict(feature_extractor_type="WhisperFeatureExtractor", feature_size=80, sampling_rate=16000,
                   hop_length=160, chunk_length=30, n_fft=400, n_samples=480000, nb_max_frames=3000,
                   padding_side="right", padding_value=0.0, processor_class="WhisperProcessor",
                   return_attention_mask=False), open(out + "/preprocessor_config.json", "w"), indent=1)
    data.MEL_FILTERS.astype("<f4").tofile(out + "/melfilters.bytes")
    write_tokenizer(out)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("ckpt")
    ap.add_argument("out")
    ap.add_argument("--raw", action="store_true", help="the last weights rather than their moving average")
    ap.add_argument("--hf", action="store_true", help="write the Hugging Face folder too")
    a = ap.parse_args()
    ck = torch.load(a.ckpt, map_location="cpu", weights_only=False)
    sd = full_state(ck, a.raw)
    os.makedirs(a.out, exist_ok=True)
    write_ggml(sd, ck["dims"], a.out + "/ggml-demo.en-f16.bin")
    if a.hf:
        write_hf(sd, ck["dims"], a.out + "/hf")
    print("step", ck["step"], "parameters", sum(v.numel() for v in sd.values()))
