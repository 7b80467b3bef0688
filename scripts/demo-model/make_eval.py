"""Builds evaluation WAVs from the held-out utterances: make_eval.py CORPUS OUT SEED [--share i/n] COUNTS...
Kinds: seen-voice, unseen-voice, human-digits (the speaker never trained on), silence/noise, long.
All sentences of three words and more are held out from training (grammar.is_heldout)."""
import argparse
import csv
import os
import random

import numpy as np
from scipy.io import wavfile

import data
import grammar
from synth import HUMAN_UNSEEN

ap = argparse.ArgumentParser()
ap.add_argument("corpus")
ap.add_argument("out")
ap.add_argument("--cache", default="run")
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--part", default="0/1", help="i/n: use every n-th held-out utterance, so that sets do not overlap")
ap.add_argument("--counts", default="150,120,100,20,20", help="seen,unseen,human,silence,long")
ap.add_argument("--avoid", default="", help="another set's transcripts.tsv: use none of its sentences")
a = ap.parse_args()
avoid = set()
if a.avoid:
    for q in csv.DictReader(open(a.avoid), delimiter="\t", quoting=csv.QUOTE_NONE):
        avoid.add(q["text"])
r, rng = random.Random(a.seed), np.random.default_rng(a.seed)
pi, pn = map(int, a.part.split("/"))
os.makedirs(a.out, exist_ok=True)
rows = []


def pad(x, lead, trail):
    return np.concatenate([np.zeros(int(lead * 16000), np.float32), x, np.zeros(int(trail * 16000), np.float32)])


def dirty(x, p=0.5):
    """Half of the files get quiet noise and another level."""
    if r.random() < p:
        nz = r.choice(NOISES)[:len(x)]
        nz = np.pad(nz, (0, len(x) - len(nz)), mode="wrap") if len(nz) < len(x) else nz
        x = x + nz * np.sqrt((x ** 2).mean()) * 10 ** (-r.uniform(18, 35) / 20)
        x = x * 10 ** (-r.uniform(0, 12) / 20)
    return x


def put(kind, voice, x, segs):
    name = f"{kind.replace('/', '-')}-{sum(k[2] == kind for k in rows):03d}.wav"
    x = np.clip(x, -1, 1)
    wavfile.write(f"{a.out}/{name}", 16000, np.round(x * 32767).astype(np.int16))
    rows.append((name, voice, kind, f"{len(x) / 16000:.2f}", " ".join(s[2] for s in segs),
                 "|".join(f"{s[0]:.2f}-{s[1]:.2f}" for s in segs)))


NOISES = data.noise_bank(np.random.default_rng(99), 30)
n_seen, n_unseen, n_human, n_sil, n_long = map(int, a.counts.split(","))
sets = {}
for split in ("eval-seen", "eval-unseen"):
    c = data.Corpus(a.corpus, split)
    u = sorted(c.utts, key=lambda u: (u["shard"], u["off"]))
    random.Random(5).shuffle(u)
    sets[split] = (c, [x for x in u[pi::pn] if x["text"] not in avoid])


def one(c, u):
    x = c.audio(u)
    l = r.uniform(0.1, 0.35)
    return dirty(pad(x, l, r.uniform(0.1, 0.4))), [(l, l + len(x) / 16000, u["text"])]


for split, kind, n in (("eval-seen", "seen-voice", n_seen), ("eval-unseen", "unseen-voice", n_unseen)):
    c, us = sets[split]
    if kind == "unseen-voice":          # two of three by the unseen speaker, the others by unseen variants
        ked = [u for u in us if u["engine"] == "festival"]
        oth = [u for u in us if u["engine"] != "festival"]
        us = ked[:n - n // 3] + oth[:n // 3]
    else:
        for_long = us[n:]
    for u in us[:n]:
        x, segs = one(c, u)
        put(kind, u["engine"] + ":" + u["voice"], x, segs)
theo = data.load_fsdd(a.cache + "/fsdd.npz")[HUMAN_UNSEEN]
for i in range(n_human):
    k = r.choice([1, 2, 3, 4, 5, 6, 7])
    ds = [r.randint(0, 9) for _ in range(k)]
    while grammar._c(" ".join(grammar.ONES[d] for d in ds)) in avoid:
        ds = [r.randint(0, 9) for _ in range(k)]
    parts = []
    for d in ds:
        takes = theo[d][pi::pn]
        parts += [r.choice(takes).astype(np.float32), np.zeros(int(r.uniform(0.05, 0.35) * 16000), np.float32)]
    x = np.concatenate(parts[:-1])
    l = r.uniform(0.1, 0.35)
    put("human-digits", "human:" + HUMAN_UNSEEN, dirty(pad(x, l, r.uniform(0.1, 0.4)), 0.3),
        [(l, l + len(x) / 16000, grammar._c(" ".join(grammar.ONES[d] for d in ds)))])
for i in range(n_sil):
    n = int(r.uniform(0.6, 6) * 16000)
    k = i % 5
    x = np.zeros(n, np.float32)
    if k:
        x = NOISES[r.randrange(len(NOISES))][:n] * 10 ** (r.choice([-60, -50, -40, -30, -22]) / 20)
    put("silence/noise", "zeros" if not k else "noise", x, [])
c = sets["eval-seen"][0]
import itertools
it = itertools.cycle(for_long)
for i in range(n_long):
    target, x, segs = r.uniform(8, 26), np.zeros(int(r.uniform(0.1, 0.6) * 16000), np.float32), []
    while True:
        u = next(it)
        if (len(x) + u["n"]) / 16000 > target + 1.5:
            break
        t0 = len(x) / 16000
        x = np.concatenate([x, c.audio(u) * 10 ** (-r.uniform(0, 5) / 20)])
        segs.append((t0, len(x) / 16000, u["text"]))
        if len(x) / 16000 > target:
            break
        x = pad(x, 0, r.uniform(0.2, 1.2))
    put("long", "several", dirty(pad(x, 0, 0.3)), segs)
with open(a.out + "/transcripts.tsv", "w", newline="") as f:
    w = csv.writer(f, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    w.writerow(["file", "voice", "kind", "seconds", "text", "segments"])
    w.writerows(rows)
print(len(rows), "files", sum(float(x[3]) for x in rows), "s")
