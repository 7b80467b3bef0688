"""Trains the demo model.  On CPUs:  torchrun --nproc_per_node 2 train.py --minutes 60 ...
On a GPU: python train.py --device cuda --workers 12 --d 384 --frames 60000 ...
The learning rate follows the wall clock (--minutes), so a run always ends with a finished schedule."""
import argparse
import json
import math
import os
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

from data import Compact, Sampler, N_TS
from model import Whisper

ap = argparse.ArgumentParser()
ap.add_argument("--corpus", default="corpus")
ap.add_argument("--out", default="run")
ap.add_argument("--device", default="cpu")
ap.add_argument("--d", type=int, default=192)
ap.add_argument("--enc", type=int, default=4)
ap.add_argument("--dec", type=int, default=3)          # not 2: whisper.cpp takes 2 for a distilled model
ap.add_argument("--frames", type=int, default=6000, help="encoder frames per batch and process")
ap.add_argument("--lr", type=float, default=1.5e-3)
ap.add_argument("--warmup", type=int, default=250)
ap.add_argument("--minutes", type=float, default=50)
ap.add_argument("--drop", type=float, default=0.0)
ap.add_argument("--full", type=float, default=0.03, help="share of samples in a full 30 s window")
ap.add_argument("--ctc", type=float, default=0.8)
ap.add_argument("--init", default="")
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--workers", type=int, default=0, help="data processes (0: in the training process)")
ap.add_argument("--max-steps", type=int, default=0)
a = ap.parse_args()

world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
if world > 1:
    dist.init_process_group("gloo" if a.device == "cpu" else "nccl")
dev = torch.device(a.device if a.device == "cpu" else f"cuda:{rank}")
torch.manual_seed(a.seed)
os.makedirs(a.out, exist_ok=True)

voc_file = a.out + "/voc.json"
if rank == 0 and not os.path.exists(voc_file):
    json.dump(Compact().text, open(voc_file, "w"))
if world > 1:
    dist.barrier()
voc = Compact(json.load(open(voc_file)))
LOG_UNUSED = math.log(voc.n_unused)


def make_sampler(seed):
    return Sampler(a.corpus, voc, seed, a.frames, a.out, a.full, *((rank, world) if not a.workers else (0, 1)))


if rank == 0:
    probe = make_sampler(0)
if world > 1:
    dist.barrier()


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        w = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        return make_sampler(a.seed * 1000 + rank * 100 + (w.id if w else 0)).batches()


if a.workers:
    stream = iter(torch.utils.data.DataLoader(Stream(), batch_size=None, num_workers=a.workers,
                                              prefetch_factor=4))
else:
    sampler = make_sampler(a.seed)
    stream = sampler.batches()
n_ph = len((probe if rank == 0 else sampler if not a.workers else make_sampler(0)).symbols)

model = Whisper(dict(d=a.d, heads=a.d // 64, enc=a.enc, dec=a.dec), voc.n_text + 7, N_TS, n_ph, a.drop)
if a.init:
    model.load_state_dict(torch.load(a.init, map_location="cpu", weights_only=False)["model"])
model.to(dev)
if world > 1:
    for p in model.parameters():
        dist.broadcast(p.data, 0)
decay = [p for n, p in model.named_parameters() if p.ndim > 1 and "positional" not in n]
other = [p for n, p in model.named_parameters() if not (p.ndim > 1 and "positional" not in n)]
params = decay + other
opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.05), dict(params=other, weight_decay=0.0)],
                        lr=a.lr, betas=(0.9, 0.98), eps=1e-6, fused=True)
if a.init and "opt" in (ck := torch.load(a.init, map_location="cpu", weights_only=False)):
    opt.load_state_dict(ck["opt"])
ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
if rank == 0:
    print("parameters", sum(p.numel() for p in params), "text tokens", voc.n_text, "phones", n_ph,
          "utterances", len(probe.corpus.utts), flush=True)


def loss_of(b):
    mel, inp, tgt = b["mel"].to(dev), b["inp"].to(dev), b["tgt"].to(dev)
    with torch.autocast(dev.type, torch.bfloat16):
        logits, ctc = model(mel, inp)
    lp = logits.float()
    adj = torch.zeros(voc.size, device=dev)
    adj[voc.unused] = LOG_UNUSED
    keep = tgt != -1            # -2, -3: silence, see below
    lp, t = F.log_softmax(lp[keep] + adj, -1), tgt[keep]
    is_ts = t >= voc.ts0
    hard = (t >= 0) & ~is_ts
    loss = -lp[hard].gather(1, t[hard, None]).sum()
    if is_ts.any():
        l, c = lp[is_ts], t[is_ts]
        for o, w in ((0, .5), (-1, .18), (1, .18), (-2, .07), (2, .07)):
            loss = loss - w * l.gather(1, (c + o).clamp(voc.ts0, voc.size - 1)[:, None]).sum()
    # silence: no-speech at SOT (an initial timestamp when that is suppressed, as it always is in
    # decoding); after NOTS the blank when an empty text is suppressed
    if (t == -2).any():
        l = lp[t == -2]
        loss = loss - (0.84 * l[:, voc.nosp] + 0.04 * l[:, voc.eot] + 0.12 * l[:, voc.ts0]).sum()
    if (t == -3).any():
        l = lp[t == -3]
        loss = loss - (0.15 * l[:, voc.nosp] + 0.25 * l[:, voc.eot] + 0.60 * l[:, voc.blank]).sum()
    n = t.numel()
    with torch.no_grad():
        acc = (lp[hard].argmax(1) == t[hard]).float().mean()
    lc = ctc.float().log_softmax(-1).transpose(0, 1)
    il = torch.full((lc.shape[1],), lc.shape[0], dtype=torch.long)
    c = F.ctc_loss(lc, b["ctc"].to(dev), il, b["ctc_len"], reduction="sum", zero_infinity=True)
    return loss / n, c / max(1, int(b["ctc_len"].sum())), acc


def save(name, step):
    if rank == 0:
        torch.save(dict(model=model.state_dict(), ema=ema, dims=model.dims, step=step, text=voc.text, opt=opt.state_dict(),
                        args=vars(a)), a.out + "/" + name + ".tmp")
        os.replace(a.out + "/" + name + ".tmp", a.out + "/" + name)


t0, step, last_save = time.time(), 0, time.time()
stat, tdata = [0.0] * 5, 0.0
while True:
    el = torch.tensor([(time.time() - t0) / 60])
    if world > 1:
        dist.broadcast(el, 0)
    frac = min(1.0, el.item() / a.minutes)
    if frac >= 1.0 or (a.max_steps and step >= a.max_steps):
        break
    lr = a.lr * min(1, (step + 1) / a.warmup) * (0.5 * (1 + math.cos(math.pi * frac)) * 0.98 + 0.02)
    for g in opt.param_groups:
        g["lr"] = lr
    if not a.workers:      # few long samples at first: they are dear and teach little early on
        sampler.late = 0.0 if frac < 0.6 else 1.0
        sampler.full_share = a.full * (0.15 if frac < 0.6 else 1.0)
        sampler.concat_share = 0.06 if frac < 0.1 and not a.init else 0.14
    t1 = time.time()
    b = next(stream)
    tdata += time.time() - t1
    model.train()
    ce, ctc, acc = loss_of(b)
    w_ctc = a.ctc * (1.0 if frac < 0.5 else 0.4)
    (ce + w_ctc * ctc).backward()
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in params]
    flat = torch.cat([g.reshape(-1) for g in grads])
    if world > 1:
        dist.all_reduce(flat)
        flat /= world
    norm = float(flat.norm())
    flat *= min(1.0, 1.0 / (norm + 1e-6))
    o = 0
    for p in params:
        p.grad = flat[o:o + p.numel()].view_as(p)
        o += p.numel()
    if math.isfinite(norm):
        opt.step()
    opt.zero_grad(set_to_none=True)
    step += 1
    k = min(0.998, (step + 1) / (step + 20))
    if rank == 0:
        with torch.no_grad():
            for n, v in model.state_dict().items():
                if v.dtype.is_floating_point:
                    ema[n].lerp_(v, 1 - k)
    for i, z in enumerate((ce.item(), ctc.item(), float(acc), norm, b["mel"].shape[0] * b["T"] / 50)):
        stat[i] += z
    if rank == 0 and step % 50 == 0:
        print(f"step {step} {el.item():.1f} min  ce {stat[0]/50:.3f} ctc {stat[1]/50:.3f} acc {stat[2]/50:.4f} "
              f"norm {stat[3]/50:.2f} lr {lr:.5f} audio/step {stat[4]/50*world:.0f}s data {tdata/50:.2f}s "
              f"step {(time.time()-t0)/step:.2f}s", flush=True)
        stat, tdata = [0.0] * 5, 0.0
    if time.time() - last_save > 240:
        last_save = time.time()
        save("last.pt", step)
save("last.pt", step)
save("final.pt", step)
if rank == 0:
    print("finished", step, flush=True)
