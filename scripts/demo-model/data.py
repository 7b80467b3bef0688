"""Tokeniser, Whisper features, augmentation and batches for the demo speech model.

Everything is numpy/torch on the CPU; batches are moved to the training device by train.py.
"""
import glob
import io
import json
import math
import os
import random
import re
import struct
import subprocess

import numpy as np
import torch
from scipy.io import wavfile
from scipy.signal import fftconvolve, resample_poly

import grammar
from synth import HUMAN_UNSEEN

SR, N_FFT, HOP, N_MELS, N_CTX = 16000, 400, 160, 80, 1500
EOT, SOT, PREV, NOSP, NOTS, TS0 = 50256, 50257, 50360, 50361, 50362, 50363
N_VOCAB, N_TS = 51864, 1501
GGML_STUB = os.environ.get("GGML_STUB", "for-tests-ggml-tiny.en.bin")
FSDD_GIT = os.environ.get("FSDD_GIT", "free-spoken-digit-dataset")


# ------------------------------------------------------------------ tokeniser
def read_stub(path=GGML_STUB):
    """(mel filters 80x201, list of the GPT-2 tokens as bytes) of a ggml Whisper file."""
    b = open(path, "rb").read()
    m, n = struct.unpack_from("2i", b, 48)
    filt = np.frombuffer(b, np.float32, m * n, 56).reshape(m, n).copy()
    o = 56 + m * n * 4
    cnt, = struct.unpack_from("i", b, o)
    o += 4
    toks = []
    for _ in range(cnt):
        ln, = struct.unpack_from("i", b, o)
        toks.append(b[o + 4:o + 4 + ln])
        o += 4 + ln
    return filt, toks


MEL_FILTERS, TOKENS = read_stub()
RANK = {t: i for i, t in enumerate(TOKENS[:EOT])}
# A line feed: what the model says to silence after <|notimestamps|>.  whisper.cpp forbids an empty
# first step (suppress_blank) and, before 1.9 at least, reads the no-speech probability of prompts
# longer than one token from memory that was never written, so only a blank token gives no text there.
BLANK = RANK[b"\n"]
_SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
_cache = {}


def _bpe(piece):
    parts = [bytes([c]) for c in piece]
    while len(parts) > 1:
        best, at = None, -1
        for i in range(len(parts) - 1):
            rk = RANK.get(parts[i] + parts[i + 1])
            if rk is not None and (best is None or rk < best):
                best, at = rk, i
        if best is None:
            break
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return [RANK[p] for p in parts]


def encode(text):
    """GPT-2 BPE by token rank (as tiktoken does it)."""
    out = []
    for p in _SPLIT.findall(text):
        if p not in _cache:
            _cache[p] = _bpe(p.encode())
        out += _cache[p]
    return out


def used_text_tokens():
    """Sorted ids of every text token that the grammar can produce."""
    used = set()
    for w in grammar.vocabulary():
        for s in (" " + w, " " + w[0].upper() + w[1:], " " + w[0].upper() + w[1:] + "."):
            used.update(encode(s))
    for n in range(101):
        used.update(encode(" " + grammar.num(n)))
        used.update(encode(" " + grammar.num(n).capitalize() + "."))
    for s in grammar.SMALL:
        used.update(encode(" " + s))
    r = random.Random(11)
    for _ in range(30000):
        used.update(encode(" " + grammar.sample(r)))
    return sorted(used)


class Compact:
    """The sub-vocabulary in training: text, 5 specials and the blank, one 'unused' row, 1501 timestamps."""

    def __init__(self, text_ids=None):
        self.text = text_ids or used_text_tokens()
        self.n_text = len(self.text)
        self.special = [EOT, SOT, PREV, NOSP, NOTS, BLANK]
        self.of = {t: i for i, t in enumerate(self.text + self.special)}
        self.eot, self.sot, self.prev, self.nosp, self.nots, self.blank = (self.of[t] for t in self.special)
        self.unused = self.n_text + 6
        self.ts0 = self.n_text + 7
        self.size = self.ts0 + N_TS
        self.n_unused = N_VOCAB - (self.size - 1)

    def text_ids(self, s):
        return [self.of[t] for t in encode(" " + s)]


# ------------------------------------------------------------------ phonemes for the CTC head
def phoneme_dict(cache):
    """word -> list of phoneme symbols, by espeak-ng (en-us); symbols() gives the inventory."""
    if os.path.exists(cache):
        return json.load(open(cache))
    d = {}
    words = sorted({p.lower() for w in grammar.vocabulary() for p in w.split("-")})
    for w in words:
        o = subprocess.run(["espeak-ng", "-q", "-v", "en-us", "-x", "--sep=_", w],
                           capture_output=True, text=True).stdout.strip()
        ph = [p for p in re.sub(r"[',%=:|]", "", o).replace(" ", "_").split("_") if p]
        d[w] = ph
    json.dump(d, open(cache, "w"))
    return d


# ------------------------------------------------------------------ features
HANN = torch.hann_window(N_FFT, periodic=True)


def power_spectrum(x):
    """|STFT|^2 as whisper.cpp computes it: 200 samples mirrored at the start, zeros at the end."""
    n = len(x)
    y = np.zeros(n + 400 + HOP, np.float32)             # the last frame holds the last samples' end
    y[200:200 + n] = x
    y[:200] = x[200:0:-1]
    y = torch.from_numpy(y)
    frames = y.unfold(0, N_FFT, HOP)                    # frame i starts at i*160
    return torch.fft.rfft(frames * HANN).abs().square_()  # [frames, 201]


def mel_bank(alpha):
    """Whisper's filter bank with its frequency axis scaled by alpha (vocal-tract-length change)."""
    if alpha == 1.0:
        return torch.from_numpy(MEL_FILTERS)
    k = np.arange(201) * alpha
    k = np.where(k > 190, 190 + (k - 190) * (10 / max(200 * alpha - 190, 1e-3)), k) if alpha > 1 else k
    m = np.stack([np.interp(k, np.arange(201), f) for f in MEL_FILTERS])
    return torch.from_numpy(m.astype(np.float32))


WARPS = [round(0.92 + 0.02 * i, 2) for i in range(10)]   # 0.92 .. 1.10
BANKS = {a: mel_bank(a).t().contiguous() for a in WARPS}
BANKS[1.0] = torch.from_numpy(MEL_FILTERS).t().contiguous()


def log_mel(x, n_frames, bank=None, shape=None, extra_max=0.0):
    """Whisper's log-mel of samples x, cut or padded to n_frames; [n_frames, 80] float32.

    shape: an optional [80] vector added in log10 (equaliser).  extra_max: raises the maximum that
    the dynamic range is measured from (as if louder audio stood elsewhere in the file)."""
    m = torch.matmul(power_spectrum(x), BANKS[1.0] if bank is None else bank)
    m = m.clamp_(min=1e-10).log10_()
    if shape is not None:
        m = (m + shape).clamp_(min=-10.0)
    top = max(float(m.max()), -10.0) + extra_max
    out = torch.full((n_frames, N_MELS), max(-10.0, top - 8.0))
    k = min(n_frames, m.shape[0])
    out[:k] = m[:k]
    return out.clamp_(min=top - 8.0).add_(4.0).div_(4.0)


# ------------------------------------------------------------------ corpus
class Corpus:
    def __init__(self, root, split="train"):
        self.utts, self.pcm = [], []
        for k, idx in enumerate(sorted(glob.glob(f"{root}/shard*.jsonl"))):
            self.pcm.append(np.memmap(idx.replace(".jsonl", ".i16"), np.int16, "r"))
            for line in open(idx):
                try:
                    u = json.loads(line)
                except ValueError:
                    continue
                if u["split"] == split and u["off"] + u["n"] <= len(self.pcm[k]):
                    u["shard"] = k
                    self.utts.append(u)

    def audio(self, u):
        return self.pcm[u["shard"]][u["off"]:u["off"] + u["n"]].astype(np.float32) / 32768.0


def load_fsdd(cache, git=FSDD_GIT):
    """{speaker: {digit: [waves at 16 kHz]}} of the Free Spoken Digit Dataset, from a bare git."""
    if os.path.exists(cache):
        z = np.load(cache, allow_pickle=True)
        return z["d"].item()
    import tarfile
    raw = subprocess.run(["git", "-C", git, "archive", "HEAD", "recordings"], capture_output=True).stdout
    d = {}
    for m in tarfile.open(fileobj=io.BytesIO(raw)):
        f = re.match(r"recordings/(\d)_(\w+)_(\d+)\.wav", m.name)
        if not f:
            continue
        sr, x = wavfile.read(io.BytesIO(tarfile.open(fileobj=io.BytesIO(raw)).extractfile(m).read())
                             ) if False else _read(raw, m)
        x = x.astype(np.float32)
        x = x / max(1.0, np.abs(x).max()) * 0.7
        x = resample_poly(x, 16000 // math.gcd(16000, sr), sr // math.gcd(16000, sr)).astype(np.float16)
        d.setdefault(f[2], {}).setdefault(int(f[1]), []).append(x)
    np.savez(cache, d=np.array(d, dtype=object))
    return d


def _read(raw, m):
    return wavfile.read(io.BytesIO(raw[m.offset_data:m.offset_data + m.size]))


# ------------------------------------------------------------------ augmentation
def noise_bank(rng, seconds=20):
    n = seconds * SR
    out = []
    for slope in (0.0, 0.5, 1.0, 1.5):                   # white, ..., pink, ..., red
        f = np.fft.rfft(rng.standard_normal(n))
        k = np.arange(len(f)) + 20.0
        x = np.fft.irfft(f / (k / k[-1]) ** slope, n)
        out.append((x / x.std()).astype(np.float32))
    t = np.arange(n) / SR
    hum = sum(np.sin(2 * np.pi * 50 * h * t + h) / h for h in (1, 2, 3, 5, 7))
    out.append((hum / hum.std() + 0.3 * out[0]).astype(np.float32) * 0.9)
    env = np.repeat(np.abs(rng.standard_normal(n // 1600 + 1)), 1600)[:n]   # fluctuating noise
    out.append((out[2] * env).astype(np.float32))
    clicks = (rng.random(n) < 2e-4) * rng.standard_normal(n)
    c = fftconvolve(clicks, np.exp(-np.arange(800) / 80) * rng.standard_normal(800))[:n]
    out.append((c / c.std() * 0.5 + 0.2 * out[1]).astype(np.float32))
    return out


def rir(rng):
    """A synthetic room: a direct path and an exponentially decaying noise tail."""
    rt = rng.uniform(0.08, 0.5)
    n = int(rt * SR)
    h = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    h *= rng.uniform(0.1, 0.6) / np.sqrt((h ** 2).sum())
    h[0] += 1.0
    return h.astype(np.float32)


def speed(x, s):
    """Linear resampling: faster and higher for s > 1."""
    n = int(len(x) / s)
    return np.interp(np.arange(n) * s, np.arange(len(x)), x).astype(np.float32)


class Sampler:
    """Endless stream of batches for one worker."""

    def __init__(self, root, voc, seed, frames_per_batch, cache_dir, full_share=0.03, rank=0, world=1):
        # plans are drawn alike in every process of a data-parallel run and dealt out in pairs of
        # nearly equal cost, so that no process waits for the others; all else is drawn per process
        self.pr = random.Random(seed)
        self.r = random.Random(seed * 1000 + rank + 1)
        self.rng = np.random.default_rng(seed * 1000 + rank + 1)
        self.rank, self.world, self.late = rank, world, 1.0
        self.voc = voc
        self.corpus = Corpus(root)
        self.by_voice = {}
        for i, u in enumerate(self.corpus.utts):
            self.by_voice.setdefault(u["voice"].split("+")[0] if u["engine"] != "espeak" else u["voice"], []).append(i)
        self.fsdd = {s: d for s, d in load_fsdd(cache_dir + "/fsdd.npz").items() if s != HUMAN_UNSEEN}
        self.ph = phoneme_dict(cache_dir + "/phonemes.json")
        self.symbols = sorted({p for v in self.ph.values() for p in v})
        self.ph_id = {p: i + 1 for i, p in enumerate(self.symbols)}      # 0 is CTC's blank
        self.noises = noise_bank(self.rng)
        self.budget = frames_per_batch
        self.full_share, self.concat_share = full_share, 0.12
        self.order = []

    # -- plans: everything about a sample but its audio
    def _utt(self):
        if not self.order:
            self.order = list(range(len(self.corpus.utts)))
            self.pr.shuffle(self.order)
        return self.order.pop()

    def _digits(self, n):
        r = self.pr
        spk = r.choice(list(self.fsdd))
        ds = [r.randint(0, 9) for _ in range(n)]
        return dict(human=[(spk, d, r.randrange(len(self.fsdd[spk][d])),
                            r.uniform(0, 0.12) if r.random() < 0.5 else r.uniform(0, 0.5)) for d in ds],
                    text=grammar._c(" ".join(grammar.ONES[d] for d in ds)))

    def _len(self, item):
        if "human" in item:
            return sum(len(self.fsdd[s][d][i]) / SR + g for s, d, i, g in item["human"])
        return self.corpus.utts[item["u"]]["n"] / SR

    def plan(self):
        r = self.pr
        k = r.random()
        speedf = r.uniform(0.88, 1.15) if r.random() < 0.5 else 1.0
        p = dict(speed=speedf, items=[], gaps=[])
        if k < 0.05:
            p["dur"] = r.choice([r.uniform(0.3, 3), r.uniform(0.3, 10)])
        else:
            lead = r.uniform(0, 0.25) if r.random() < 0.6 else r.uniform(0, 1.2)
            if k < 0.16:
                p["items"] = [self._digits(r.choice([1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10]))]
            elif k < 0.16 + self.concat_share:
                target, tot = r.uniform(3, 27), 0.0
                same = self.by_voice[r.choice(list(self.by_voice))] if r.random() < 0.5 else None
                while tot < target:
                    it = self._digits(r.randint(1, 7)) if r.random() < 0.12 else dict(
                        u=r.choice(same) if same else self._utt())
                    d = self._len(it) / speedf + 0.3
                    if tot + d > 28:
                        break
                    p["items"].append(it)
                    tot += d + 0.4
            else:
                p["items"] = [dict(u=self._utt())]
            t = lead
            for it in p["items"]:
                d = self._len(it) / speedf
                gap = r.uniform(0.0, 0.4) if r.random() < 0.6 else r.uniform(0.2, 1.5)
                it["at"] = t
                t += d + gap
            t -= gap
            trail = r.uniform(0, 0.3) if r.random() < 0.6 else r.uniform(0, 1.2)
            p["dur"] = t + trail
            if p["dur"] > 29.9:
                return self.plan()
        # zero padding after the audio, as the window or a short audio_ctx has it at inference;
        # little of it early in training (late < 1), since it costs time and teaches little
        u = r.random()
        if self.late < 1:
            extra = (0 if u < 0.2 else r.uniform(0, 0.4) if u < 0.85 else r.uniform(0, 3) if u < 0.97 else
                     r.uniform(0, 12) if u < 1 - self.full_share else 30)
        else:
            extra = (0 if u < 0.15 else r.uniform(0, 0.7) if u < 0.65 else r.uniform(0, 4) if u < 0.9 else
                     r.uniform(0, 12) if u < 1 - self.full_share else 30)
        T = math.ceil((p["dur"] + extra) * 50)
        p["T"] = min(N_CTX, max(48, -(-T // 8) * 8))
        return p

    # -- realisation
    def realise(self, p, T):
        r, rng = self.r, self.rng
        clean = r.random() < 0.4
        n = int(p["dur"] * SR)
        x = np.zeros(max(n, 800), np.float32)
        segs = []
        for it in p["items"]:
            if "human" in it:
                parts = []
                for s, d, i, g in it["human"]:
                    parts += [self.fsdd[s][d][i].astype(np.float32) * r.uniform(0.6, 1.0),
                              np.zeros(int(g * SR), np.float32)]
                w = np.concatenate(parts[:-1])
                text = it["text"]
            else:
                u = self.corpus.utts[it["u"]]
                w, text = self.corpus.audio(u), u["text"]
            if p["speed"] != 1.0:
                w = speed(w, p["speed"])
            if len(p["items"]) > 1 and r.random() < 0.5:
                w = w * 10 ** (r.uniform(-8, 0) / 20)
            o = int(it["at"] * SR)
            w = w[:max(0, len(x) - o)]
            x[o:o + len(w)] += w
            segs.append((o / SR, (o + len(w)) / SR, text))
        if segs and not clean and r.random() < 0.25:
            h = rir(rng)
            x = fftconvolve(x, h)[:len(x)].astype(np.float32)
        if not segs:
            k = r.random()
            if k < 0.25:
                x[:] = 0
                if k < 0.12:
                    x += rng.standard_normal(len(x)).astype(np.float32) * 1e-4
            else:
                nz = self.noises[r.randrange(len(self.noises))]
                o = r.randrange(len(nz) - min(len(x), len(nz) // 2))
                y = nz[o:o + len(x)]
                x[:len(y)] = y * 10 ** (r.uniform(-70, -15) / 20)
        elif not clean and r.random() < 0.7:
            nz = self.noises[r.randrange(len(self.noises))]
            o = r.randrange(max(1, len(nz) - len(x)))
            y = nz[o:o + len(x)]
            lvl = float(np.sqrt((x ** 2).mean())) + 1e-6
            snr = r.uniform(6, 20) if r.random() < 0.3 else r.uniform(15, 45)
            x[:len(y)] += y * (lvl * 10 ** (-snr / 20))
        if segs:
            x *= 10 ** (r.uniform(-26, 2) / 20)
        if r.random() < 0.8:
            x = np.round(np.clip(x, -1, 1) * 32767) / 32768.0
            x = x.astype(np.float32)
        bank = BANKS[r.choice(WARPS)] if not clean and r.random() < 0.6 else None
        shape = None
        if not clean and r.random() < 0.6:
            pts = np.array([r.uniform(-1, 1) for _ in range(r.randint(2, 6))]) * r.uniform(0.1, 0.9)
            shape = np.interp(np.linspace(0, 1, N_MELS), np.linspace(0, 1, len(pts)), pts)
            if r.random() < 0.25:
                cut = r.randint(52, 76)
                shape[cut:] -= np.minimum(6.0, (np.arange(N_MELS - cut) + 1) * r.uniform(0.3, 2.0))
            if r.random() < 0.2:
                cut = r.randint(2, 12)
                shape[:cut] -= (np.arange(cut)[::-1] + 1) * r.uniform(0.1, 0.5)
            shape = torch.from_numpy(shape.astype(np.float32))
        extra = r.uniform(0, 5) if (not segs and r.random() < 0.5) else 0.0
        m = log_mel(x, 2 * T, bank, shape, extra)
        if segs and not clean and r.random() < 0.6:
            lo = float(m.min())
            for _ in range(r.randint(0, 2)):
                w = r.randint(1, 10); a = r.randrange(N_MELS - w)
                m[:, a:a + w] = lo
            for _ in range(r.randint(0, 2)):
                w = r.randint(1, 7); a = r.randrange(2 * T - w)
                m[a:a + w] = lo
        return m, segs

    def tokens(self, segs):
        """(ids, first position with a loss, silence?)"""
        r, v = self.r, self.voc
        pre = []
        if r.random() < 0.12:
            pre = [v.prev]
            for _ in range(r.randint(1, 3)):
                t = v.text_ids(self.corpus.utts[r.randrange(len(self.corpus.utts))]["text"])
                if r.random() < 0.4:
                    a, b = sorted((r.randint(0, 1500), r.randint(0, 1500)))
                    t = [v.ts0 + a] + t + [v.ts0 + b]
                pre += t
        start = len(pre)
        ids = pre + [v.sot]
        if not segs:
            k = r.random()
            if k < 0.6:
                ids += [v.nots]
            elif k < 0.9:
                ids += [v.ts0 + r.randint(0, 50) * (r.random() < 0.4)]
            if k < 0.1 or k > 0.9:
                ids += [r.randrange(v.n_text)]
            elif k < 0.4:
                ids += [v.blank]
            return ids + [v.eot], start, True
        if r.random() < 0.5:
            ids.append(v.nots)
            for _, _, t in segs:
                ids += v.text_ids(t)
        else:
            for a, b, t in segs:
                ids += [v.ts0 + min(1500, round(a * 50))] + v.text_ids(t) + [v.ts0 + min(1500, round(b * 50))]
        return ids + [v.eot], start, False

    def batches(self, pool=400):
        while True:
            plans = sorted((self.plan() for _ in range(pool * self.world)), key=lambda p: p["T"])
            groups, cur = [], []
            for p in plans:
                if cur and (len(cur) + 1) * p["T"] > self.budget:
                    groups.append(cur)
                    cur = []
                cur.append(p)
            groups.append(cur)
            n = len(groups) // self.world
            order = list(range(n))
            self.pr.shuffle(order)
            for k in order:
                yield self.collate(groups[k * self.world + self.rank])

    def collate(self, g):
        T = max(p["T"] for p in g)
        mels, toks, starts, sil, ctc = [], [], [], [], []
        for p in g:
            m, segs = self.realise(p, T)
            ids, st, s = self.tokens(segs)
            mels.append(m); toks.append(ids); starts.append(st); sil.append(s)
            ph = []
            for _, _, t in segs:
                for w in grammar.words_of(t):
                    for q in w.lower().split("-"):
                        ph += [self.ph_id[z] for z in self.ph[q]]
            ctc.append(ph)
        L = max(map(len, toks)) - 1
        B = len(g)
        inp = torch.full((B, L), self.voc.eot)
        tgt = torch.full((B, L), -1)
        for i, (t, st) in enumerate(zip(toks, starts)):
            inp[i, :len(t) - 1] = torch.tensor(t[:-1])
            tgt[i, st:len(t) - 1] = torch.tensor(t[st + 1:])
        if any(sil):
            # silence: 'nospeech' after SOT (-2), the blank after NOTS (-3), EOT after anything else
            for i in range(B):
                if sil[i]:
                    st = starts[i]
                    row = toks[i]
                    tgt[i, st] = -2
                    if row[st + 1] == self.voc.nots:
                        tgt[i, st + 1] = -3
                        if len(row) - st > 3:
                            tgt[i, st + 2] = self.voc.eot
                    else:
                        tgt[i, st + 1] = self.voc.eot
                        tgt[i, st + 2:] = -1
        return dict(mel=torch.stack(mels), inp=inp, tgt=tgt,
                    ctc=torch.tensor([z for c in ctc for z in c], dtype=torch.long),
                    ctc_len=torch.tensor([len(c) for c in ctc]), T=T)
