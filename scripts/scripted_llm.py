#!/usr/bin/env python3
"""A language model's endpoint that says what it is told, when it is told to: for tests and benchmarks of conversations.

    scripted_llm.py --port 0 --first-token 200 --rate 30 --reply "You said {echo}, and this is number {n}."

speaks OpenAI's chat completions over HTTP/1.1 with keep-alive, streamed or not. Its first line of output is its address,
as a client wants it. Token `i` of a reply (a word each) is sent `first-token + i / rate` after its request had arrived,
by the clock, so that a late token makes no later one late. What it knows of its requests is at `GET /stats`: whether one
is still open after its client went away, how many connections they came on, and when the first and the last token of each went out, on the clock that
`time.monotonic()` shows to every process of this machine.

It misbehaves for all requests (`--mode`), for one (`mode=stall` in the last message, or in the reply to it), or from now on for a number of them
(`POST /script` with `{"mode": "down", "times": 3}`; other options can be set in the same way). Standard library only.
"""
import argparse
import asyncio
import collections
import json
import pathlib
import re
import signal
import sys
import time

MODES = {
    "ok": "replies",
    "down": "closes the connection without a word",
    "silent": "never begins",
    "slow": "takes ten times as long for everything",
    "cut": "closes the connection after some tokens",
    "end": "ends the response after some tokens, without saying why",
    "stall": "falls silent after some tokens",
    "garbage": "sends something else than JSON after some tokens",
    "error": "says that it failed after some tokens",
    "html": "sends a page",
    "401": "does not accept the key",
    "429": "wants to be asked later",
    "500": "fails",
    "tools": "calls the first function that is offered, and tells what it gave",
}
REFUSALS = {
    "401": ("401 Unauthorized", "Incorrect API key provided."),
    "429": ("429 Too Many Requests", "Rate limit reached."),
    "500": ("500 Internal Server Error", "The server had an error."),
}
MODE = re.compile(r"\s*\bmode=(\w+)")
# How many requests are remembered one by one.
REMEMBERED = 2_000
LARGEST_REQUEST = 16 << 20


class HangUp(Exception):
    """The connection is to be closed without further words."""


class Scripted:
    """What is said, and what became of it."""

    def __init__(self, options):
        self.options = options
        self.replies = read_replies(options)
        self.turns = collections.Counter()
        self.special = None
        # When the model is loaded, which the first request sees to.
        self.loaded_at = None
        self.reset()

    def reset(self):
        self.counts = collections.Counter()
        self.log = collections.deque(maxlen=REMEMBERED)
        self.kept = collections.deque()
        self.peak_open = 0

    def stats(self):
        counts = ("requests", "open", "completed", "cancelled", "refused", "connections", "connections_open")
        return {
            **{name: self.counts[name] for name in counts},
            "peak_open": self.peak_open,
            "first_at": next((entry["first_at"] for entry in self.log if "first_at" in entry), None),
            "now": time.monotonic(),
            "log": list(self.log),
        }

    def show(self, entry, request):
        """Keeps what the last requests showed, and when each of their tokens went out; forgets that of older ones."""
        if self.options.keep:
            entry["shown"] = {name: request[name] for name in ("messages", "tools") if name in request}
            entry["sent_at"] = []
            self.kept.append(entry)
        while len(self.kept) > self.options.keep:
            old = self.kept.popleft()
            del old["shown"], old["sent_at"]

    def script(self, wanted):
        """Sets options, for so many `times` if that is said, and a mode back to what it was after that."""
        times = wanted.pop("times", None)
        for name, value in wanted.items():
            name = name.replace("-", "_")
            if name not in vars(self.options) or (name == "mode" and value not in MODES):
                raise ValueError(f"there is no {name} {value}")
            if name == "mode" and times is not None:
                self.special = [value, int(times)]
            else:
                setattr(self.options, name, value)
                self.special = None if name == "mode" else self.special
        if "reply" in wanted:
            self.replies = read_replies(self.options)

    def mode(self, said):
        planned = next((texts[0] for key, texts in self.replies if key.lower() in said.lower()), "")
        for text in said, planned:
            named = MODE.search(text)
            if named and named[1] in MODES:
                return named[1]
        if self.special and self.special[1] > 0:
            self.special[1] -= 1
            return self.special[0]
        return self.options.mode

    def reply(self, said, n):
        """The reply to the last message: the first whose key stands in it, or the next in line."""
        key, texts = next(((key, texts) for key, texts in self.replies if key.lower() in said.lower()), ("", ["{echo}"]))
        text = texts[self.turns[key] % len(texts)]
        self.turns[key] += 1
        return MODE.sub("", text).replace("{echo}", said).replace("{n}", str(n)).strip()


def read_replies(options):
    """Pairs of a text to look for and replies to it that take turns. Everything has the empty text in it."""
    if not options.replies:
        return [("", [options.reply])]
    text = pathlib.Path(options.replies).read_text(encoding="utf-8")
    if not options.replies.endswith(".json"):
        return [("", [line for line in text.splitlines() if line.strip()] or [options.reply])]
    written = json.loads(text)
    pairs = written.items() if isinstance(written, dict) else [("", written)]
    pairs = [(key, reply if isinstance(reply, list) else [reply]) for key, reply in pairs]
    return sorted(pairs, key=lambda pair: pair[0] == "") + [("", [options.reply])]


class Connection(asyncio.Protocol):
    """One connection: one request after the other. A client that goes away cancels its reply."""

    def __init__(self, scripted):
        self.scripted = scripted
        self.received = bytearray()
        self.task = None

    def connection_made(self, transport):
        self.transport = transport
        self.scripted.counts["connections"] += 1
        self.scripted.counts["connections_open"] += 1
        self.number = self.scripted.counts["connections"]

    def connection_lost(self, _error):
        self.scripted.counts["connections_open"] -= 1
        if self.task:
            self.task.cancel()

    def data_received(self, data):
        self.received += data
        if len(self.received) > LARGEST_REQUEST:
            self.transport.abort()
        elif not self.task:
            self.begin()

    def begin(self):
        """Answers the next request, if all of it is here."""
        request = self.take()
        if request:
            self.task = asyncio.get_running_loop().create_task(self.answer(*request))

    def take(self):
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self.received[:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = end + 4 + int(headers.get("content-length") or 0)
        if len(self.received) < whole:
            return None
        body = bytes(self.received[end + 4 : whole])
        del self.received[:whole]
        method, path, *_ = first.split(" ") + ["", ""]
        return method, path.partition("?")[0].removeprefix("/v1").rstrip("/"), headers, body

    async def answer(self, method, path, headers, body):
        try:
            if (method, path) == ("POST", "/chat/completions"):
                await self.complete(headers, json.loads(body))
            else:
                self.respond(*self.look_up(method, path, body))
        except HangUp:
            # What was written goes out first.
            self.transport.close()
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as wrong:
            self.refuse("400 Bad Request", f"that is no request: {wrong!r}")
        self.task = None
        if not self.transport.is_closing():
            self.begin()

    def look_up(self, method, path, body):
        if (method, path) == ("GET", "/stats"):
            return "200 OK", self.scripted.stats()
        if (method, path) == ("GET", "/models"):
            model = {"id": self.scripted.options.model, "object": "model", "created": 0, "owned_by": "script"}
            return "200 OK", {"object": "list", "data": [model]}
        if (method, path) == ("POST", "/script"):
            self.scripted.script(json.loads(body))
            return "200 OK", self.scripted.stats()
        if (method, path) == ("POST", "/reset"):
            kept = {name: self.scripted.counts[name] for name in ("open", "connections_open")}
            self.scripted.reset()
            self.scripted.counts.update(kept)
            return "200 OK", self.scripted.stats()
        return "404 Not Found", {"error": {"message": f"there is no {path}"}}

    def respond(self, status, body, kind="application/json", more=""):
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
        self.transport.write(head.encode() + body)

    def refuse(self, status, message, more=""):
        self.respond(status, {"error": {"message": message, "type": "scripted", "code": None}}, more=more)

    async def complete(self, headers, request):
        """One request for a reply, counted from its arrival to its end."""
        arrived, scripted = time.monotonic(), self.scripted
        scripted.counts["requests"] += 1
        scripted.counts["open"] += 1
        scripted.peak_open = max(scripted.peak_open, scripted.counts["open"])
        messages = request.get("messages") or []
        said = next((text(message) for message in reversed(messages) if message.get("role") == "user"), "")
        entry = {"n": scripted.counts["requests"], "connection": self.number, "arrived": arrived, "said": said,
                 "messages": len(messages), "outcome": "open"}
        scripted.log.append(entry)
        scripted.show(entry, request)
        try:
            key = scripted.options.key
            mode = scripted.mode(said)
            if key and headers.get("authorization") != f"Bearer {key}":
                mode = "401"
            entry["mode"] = mode
            await Reply(self, request, entry).act(mode)
            entry["outcome"] = "refused" if mode in REFUSALS else "completed"
            scripted.counts[entry["outcome"]] += 1
        except asyncio.CancelledError:
            entry["outcome"] = "cancelled"
            scripted.counts["cancelled"] += 1
            raise
        except HangUp:
            entry["outcome"] = "hung up"
            raise
        finally:
            entry["over_at"] = time.monotonic()
            entry["outcome"] = entry["outcome"].replace("open", "failed")
            scripted.counts["open"] -= 1


class Reply:
    """One reply, token by token, at its times."""

    def __init__(self, connection, request, entry):
        self.connection = connection
        self.request = request
        self.entry = entry
        self.options = connection.scripted.options
        self.first_token = self.options.first_token / 1_000
        self.pace = 1 / self.options.rate
        self.streams = bool(request.get("stream"))
        self.head_sent = False
        scripted, arrived = connection.scripted, entry["arrived"]
        if scripted.loaded_at is None:
            scripted.loaded_at = arrived + self.options.load / 1_000
        self.first_token += max(0.0, scripted.loaded_at - arrived)

    async def act(self, mode):
        if mode == "down":
            raise HangUp
        if mode in REFUSALS:
            status, message = REFUSALS[mode]
            more = f"retry-after: {self.options.retry_after:g}\r\n" if mode == "429" else ""
            return self.connection.refuse(status, message, more)
        if mode == "html":
            return self.connection.respond("200 OK", "<html><title>Welcome</title></html>", "text/html")
        if mode == "silent":
            self.send_head()
            await asyncio.Event().wait()
        if mode == "slow":
            self.first_token, self.pace = self.first_token * 10, self.pace * 10
        if mode == "tools" and await self.call_function():
            return None
        await self.speak(mode)
        return None

    async def speak(self, mode):
        words = re.findall(r"\S+\s*", self.answer(mode)) or [""]
        most = self.request.get("max_tokens") or self.request.get("max_completion_tokens") or len(words)
        finish = "stop" if len(words) <= most else "length"
        words = words[:most]
        breaks_at = min(self.options.after, len(words)) if mode in ("cut", "end", "stall", "garbage", "error") else None
        for at, word in enumerate(words):
            if at == breaks_at:
                break
            await self.due(at)
            self.send({"content": word})
        if breaks_at is not None:
            await self.due(breaks_at)
            return await self.break_off(mode)
        self.finish(finish, len(words), "".join(words))
        return None

    def answer(self, mode):
        scripted, messages = self.connection.scripted, self.request.get("messages") or [{}]
        if mode == "tools" and messages[-1].get("role") == "tool":
            return f"The function says: {text(messages[-1])}"
        said = MODE.sub("", self.entry["said"]).strip()
        return scripted.reply(said, self.entry["n"])

    async def call_function(self):
        """Calls the first function that is offered, unless one has just given something."""
        tools, messages = self.request.get("tools") or [], self.request.get("messages") or [{}]
        if not tools or messages[-1].get("role") == "tool":
            return False
        arguments, name = self.options.arguments, tools[0]["function"]["name"]
        call = {"index": 0, "id": f"call_{self.entry['n']}", "type": "function"}
        half = len(arguments) // 2
        await self.due(0)
        self.send({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
        for at, piece in enumerate((arguments[:half], arguments[half:]), start=1):
            await self.due(at)
            self.send({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        self.finish("tool_calls", 3, calls=[{**call, "function": {"name": name, "arguments": arguments}}])
        return True

    async def break_off(self, mode):
        if mode == "cut":
            raise HangUp
        if mode == "end":
            return self.write(b"", is_last=True)
        if mode == "garbage":
            return self.write(b"data: Welcome to the machine!\n\n", is_last=True)
        if mode == "error":
            return self.write(event({"error": {"message": "out of memory", "code": 500}}), is_last=True)
        return await asyncio.Event().wait()

    async def due(self, at):
        """Waits for the time of token `at`."""
        wait = self.entry["arrived"] + self.first_token + at * self.pace - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self.entry.setdefault("first_at", time.monotonic())
        self.entry["last_at"] = time.monotonic()
        if "sent_at" in self.entry:
            self.entry["sent_at"].append(self.entry["last_at"])

    def send(self, delta):
        self.entry["tokens"] = self.entry.get("tokens", 0) + 1
        if self.streams:
            self.write(event(self.chunk(delta)))

    def finish(self, reason, tokens, content=None, calls=None):
        asked = sum(len(text(message).split()) for message in self.request.get("messages") or [])
        usage = {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens}
        if not self.streams:
            message = {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
            whole = self.chunk({}, reason, "chat.completion") | {"usage": usage}
            whole["choices"][0] = {"index": 0, "message": message, "finish_reason": reason}
            return self.connection.respond("200 OK", whole)
        events = event(self.chunk({}, reason))
        if (self.request.get("stream_options") or {}).get("include_usage"):
            events += event(self.chunk({}) | {"choices": [], "usage": usage})
        return self.write(events + b"data: [DONE]\n\n", is_last=True)

    def chunk(self, delta, reason=None, kind="chat.completion.chunk"):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": f"chatcmpl-{self.entry['n']}", "object": kind, "created": int(time.time()),
                "model": self.request.get("model", self.options.model), "choices": [choice]}

    def send_head(self):
        self.head_sent = True
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.connection.transport.write(head)

    def write(self, data, is_last=False):
        if not self.head_sent:
            self.send_head()
        chunk = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
        self.connection.transport.write(chunk + (b"0\r\n\r\n" if is_last else b""))


def event(data):
    return b"data: %s\n\n" % json.dumps(data).encode()


def text(message):
    """What a message says, be it a text or a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0: a free one")
    add("--first-token", type=float, default=100, metavar="MS", help="from a request to its first token")
    add("--rate", type=float, default=50, metavar="N", help="tokens per second after it")
    add("--load", type=float, default=0, metavar="MS", help="how long after the very first request the model is loaded; until then nothing is replied")
    add("--reply", default="You said: {echo}", metavar="TEXT", help="{echo}: the last message; {n}: the request's number")
    add("--replies", metavar="FILE", help="lines, or a JSON list, that take turns; or a JSON object of replies (or lists) by\n"
        "what is to stand in the last message")
    add("--mode", choices=MODES, default="ok", help="\n".join(f"{mode}: {what}" for mode, what in MODES.items()))
    add("--after", type=int, default=3, metavar="N", help="after how many tokens it breaks off")
    add("--retry-after", type=float, default=1, metavar="S", help="what it says with 429")
    add("--arguments", default='{"city": "Paris"}', metavar="JSON", help="of the function that it calls")
    add("--keep", type=int, default=0, metavar="N", help="show at /stats what the last N requests said, and when each token\nof their replies went out")
    add("--key", help="the key that it wants")
    add("--model", default="scripted", help="the name that it is listed under")
    options = parser.parse_args()
    if options.rate <= 0:
        parser.error("--rate is more than 0")
    return options


async def main():
    options = parse()
    scripted, loop = Scripted(options), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(scripted), options.host, options.port, backlog=1_024)
    print(f"http://{options.host}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
