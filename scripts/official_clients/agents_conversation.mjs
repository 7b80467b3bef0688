#!/usr/bin/env node
// OpenAI's own JavaScript clients, unmodified, hold a short conversation with a running server over TLS: `@openai/agents`
// by its WebSocket transport, and `openai` by `openai/realtime/ws`. They know no `ws:`, so the server speaks TLS:
//
//     stenopool serve --tls-self-signed      (it says where its certificate is kept)
//     npm install --prefix /tmp/agents @openai/agents openai ws
//     NODE_EXTRA_CA_CERTS=CERTIFICATE NODE_PATH=/tmp/agents/node_modules \
//         node scripts/official_clients/agents_conversation.mjs https://127.0.0.1:8080/v1 [--key KEY] [--connect-only]
//
// Prints what happens; exits with 1 when something that was to come did not.

import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const PATIENCE_MS = 30_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { key: { type: 'string', default: 'none' }, 'connect-only': { type: 'boolean', default: false } },
});
if (positionals.length !== 1) {
  console.error('usage: agents_conversation.mjs https://HOST:PORT/v1 [--key KEY] [--connect-only]');
  process.exit(2);
}
const base = new URL(positionals[0]);

// NODE_PATH is for `require` only: it finds the packages that are imported then.
const require = createRequire(import.meta.url);
const load = (name) => import(pathToFileURL(require.resolve(name)));

/** Waits for `begin` to hand its callback a value, within the patience of this script. */
function within(what, begin) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} within ${PATIENCE_MS} ms`)), PATIENCE_MS);
    begin((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

/** Keeps all events and lets others wait for one of a type. */
class Diary {
  #events = [];
  #waiting = [];

  add(event) {
    this.#events.push(event);
    this.#waiting = this.#waiting.filter(({ type, from, tell }) => {
      const hit = this.#events.length > from && event.type === type;
      if (hit) tell(event);
      return !hit;
    });
  }

  get length() {
    return this.#events.length;
  }

  /** All events of a type since `from`. */
  all(type, from = 0) {
    return this.#events.slice(from).filter((event) => event.type === type);
  }

  /** The first event of a type since `from`, also one that is yet to come. */
  async next(type, from = 0) {
    const [known] = this.all(type, from);
    return known ?? within(type, (tell) => this.#waiting.push({ type, from, tell }));
  }
}

function check(claim, holds) {
  console.log(`  ${holds ? 'ok' : 'NO'}  ${claim}`);
  if (!holds) process.exitCode = 1;
}

/** A turn in text and its reply in sound; then one that is interrupted. */
async function converse(diary, say, interrupt) {
  let from = diary.length;
  say('Good morning. Please count from one to three.');
  await diary.next('response.created', from);
  await diary.next('response.output_audio.delta', from);
  const { response } = await diary.next('response.done', from);
  const heard = diary.all('response.output_audio.delta', from);
  const bytes = heard.reduce((sum, { delta }) => sum + Buffer.from(delta, 'base64').length, 0);
  const words = diary.all('response.output_audio_transcript.delta', from).map(({ delta }) => delta).join('');
  console.log(`  reply: ${JSON.stringify(words)}, ${(bytes / 48_000).toFixed(2)} s of sound`);
  check('the reply is complete', response.status === 'completed');
  check('it has words and sound', words.trim() !== '' && bytes > 0);

  from = diary.length;
  say('Please tell me a long story.');
  await diary.next('response.output_audio.delta', from);
  interrupt();
  const { response: cut } = await diary.next('response.done', from);
  check('a reply that is interrupted ends', ['cancelled', 'completed'].includes(cut.status));
  const end = diary.length;
  await pause(500);
  const late = diary.all('response.output_audio.delta', end).filter((delta) => delta.response_id === cut.id);
  check('and nothing of it comes afterwards', late.length === 0);
}

async function agents() {
  console.log('@openai/agents, OpenAIRealtimeWebSocket');
  const { OpenAIRealtimeWebSocket } = await load('@openai/agents/realtime');
  const transport = new OpenAIRealtimeWebSocket({ url: address('wss:'), useInsecureApiKey: true });
  const diary = new Diary();
  transport.on('*', (event) => diary.add(event));
  transport.on('error', ({ error }) => console.log('  error:', error?.message ?? JSON.stringify(error)));
  // The transport connects when it is told to, and resolves when the socket is open.
  await transport.connect({ apiKey: values.key, model: 'gpt-realtime', initialSessionConfig: {} });
  const { session } = await diary.next('session.created');
  check(`session.created, of type ${session.type}`, typeof session.id === 'string');
  await diary.next('session.updated');
  check('session.updated', true);
  if (!values['connect-only']) {
    await converse(diary, (text) => transport.sendMessage(text, {}), () => transport.interrupt());
  }
  transport.close();
}

async function openai() {
  console.log('openai, OpenAIRealtimeWS');
  const { default: OpenAI } = await load('openai');
  const { OpenAIRealtimeWS } = await load('openai/realtime/ws');
  const client = new OpenAI({ apiKey: values.key, baseURL: base.href });
  const realtime = new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client);
  const diary = new Diary();
  realtime.on('event', (event) => diary.add(event));
  realtime.on('error', (error) => console.log('  error:', error.message));
  const { session } = await diary.next('session.created');
  check(`session.created, of type ${session.type}`, typeof session.id === 'string');
  if (!values['connect-only']) {
    const say = (text) => {
      const content = [{ type: 'input_text', text }];
      realtime.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      realtime.send({ type: 'response.create' });
    };
    await converse(diary, say, () => realtime.send({ type: 'response.cancel' }));
  }
  realtime.close();
}

/** The address of the socket, with the model that the transport does not add to a URL of ours. */
function address(protocol) {
  const url = new URL(`${base.href.replace(/\/$/, '')}/realtime?model=gpt-realtime`);
  url.protocol = protocol;
  return url.href;
}

for (const client of [agents, openai]) {
  try {
    await client();
  } catch (error) {
    check(error.message, false);
  }
}
process.exit();
