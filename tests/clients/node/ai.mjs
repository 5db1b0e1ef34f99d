// The AI SDK with its three providers for servers of this kind: OpenAI's chat completions, OpenAI's Responses API, and
// the one for compatible servers.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import {
  API_KEY, CALL_OSLO, CALL_TWO_CITIES, KEYED, LONG_QUESTION, MODEL, SAY_ALICE, SAY_CALL_OSLO, SCRIPTED, SINGLE,
  isIdle, run, sleep, thrown, user,
} from "./questions.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const PROVIDERS = {
  chat: (baseURL, apiKey = "none") => (name) => createOpenAI({ baseURL, apiKey }).chat(name),
  responses: (baseURL, apiKey = "none") => (name) => createOpenAI({ baseURL, apiKey }).responses(name),
  compatible: (baseURL, apiKey = "none") => (name) =>
    createOpenAICompatible({
      name: "nudging", baseURL, apiKey, supportsStructuredOutputs: true, includeUsage: true,
    })(name),
};
const Person = z.object({ name: z.string(), age: z.number() });
const tools = {
  weather: tool({
    description: "Return the weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  }),
  now: tool({ description: "Return the time.", inputSchema: z.object({}), execute: async () => "noon" }),
};

function casesOf(provider) {
  const model = provider(SCRIPTED)(MODEL);
  const single = provider(SINGLE)(MODEL);
  const ask = (options) => generateText({ model, maxRetries: 0, ...options });
  const failing = (url, key, question, name = MODEL) =>
    thrown(generateText({ model: provider(url, key)(name), prompt: question, maxRetries: 0 }));
  return {
    text: async () => {
      const reply = await ask({ system: "Be brief.", prompt: "Say: Hello there." });
      return [reply.text, reply.finishReason, reply.usage.totalTokens > 0];
    },
    system: async () => (await ask({ system: "Be brief.", prompt: "Repeat the prompt." })).text,
    sent_back: async () => {
      const messages = user("Say: first");
      messages.push(...(await ask({ messages })).response.messages, ...user("Repeat the prompt."));
      return (await ask({ messages })).text;
    },
    stream: async () => {
      const stream = streamText({ model, prompt: "Count: 5" });
      const parts = [];
      for await (const part of stream.textStream) parts.push(part);
      return [parts.join(""), parts.length > 1, await stream.finishReason, (await stream.usage).totalTokens > 0];
    },
    tools: async () => {
      const reply = await ask({ prompt: CALL_OSLO, tools, stopWhen: stepCountIs(3) });
      return [reply.steps.length, reply.steps[0].toolCalls[0].input, reply.text];
    },
    two_tools: async () => (await ask({ prompt: CALL_TWO_CITIES, tools })).toolCalls.map((call) => call.input.city),
    empty_input: async () => (await ask({ prompt: "Call: now {}", tools, stopWhen: stepCountIs(3) })).text,
    required: async () =>
      (await ask({ prompt: SAY_CALL_OSLO, tools, toolChoice: "required" })).toolCalls.map((call) => call.toolName),
    named: async () =>
      (await ask({ prompt: SAY_CALL_OSLO, tools, toolChoice: { type: "tool", toolName: "weather" } })).toolCalls.map(
        (call) => call.input,
      ),
    none: async () => (await ask({ prompt: "Say: none", tools, toolChoice: "none" })).text,
    streamed_tools: async () => {
      const stream = streamText({ model, prompt: CALL_TWO_CITIES, tools, stopWhen: stepCountIs(3) });
      const kinds = [];
      for await (const part of stream.fullStream) {
        if (part.type === "error") throw part.error;
        kinds.push(part.type);
      }
      return [kinds.filter((kind) => kind === "tool-call").length, await stream.text];
    },
    tools_sent_back: async () => {
      const messages = user(CALL_OSLO);
      const first = await ask({ messages, tools, stopWhen: stepCountIs(3) });
      messages.push(...first.response.messages, ...user("Say: second"));
      return (await ask({ messages, tools })).text;
    },
    object: async () => (await generateObject({ model, schema: Person, prompt: SAY_ALICE, maxRetries: 0 })).object,
    streamed_object: async () => {
      const stream = streamObject({ model, schema: Person, prompt: SAY_ALICE });
      for await (const _ of stream.partialObjectStream);
      return stream.object;
    },
    output: async () => (await ask({ prompt: SAY_ALICE, output: Output.object({ schema: Person }) })).output,
    choice: async () =>
      (await ask({ prompt: 'Say: {"result": "good"}', output: Output.choice({ options: ["good", "bad"] }) })).output,
    settings: async () => {
      const reply = await ask({ prompt: "Say: one two three", maxOutputTokens: 2, temperature: 0.5, topP: 0.9 });
      return [reply.text, reply.finishReason];
    },
    wrong_key: () => failing(KEYED, "none", "Say: no"),
    too_long: () => failing(KEYED, API_KEY, LONG_QUESTION),
    unknown_model: () => failing(SCRIPTED, "none", "Say: no", "gpt-9"),
    aborted: async () => {
      const stopped = new AbortController();
      const stream = streamText({ model: single, prompt: "Count: 500", abortSignal: stopped.signal, onError() {} });
      let refused;
      for await (const part of stream.fullStream) {
        if (part.type !== "text-delta") continue;
        refused ??= await failing(SINGLE, "none", "Say: now");
        stopped.abort();
      }
      return [refused[1], await isIdle(SINGLE)];
    },
    tried_again: async () => {
      const first = generateText({ model: single, prompt: "Count: 30" });
      await sleep(100);
      const second = await generateText({ model: single, prompt: "Say: now", maxRetries: 3 });
      await first;
      return second.text;
    },
    twenty: async () => {
      const numbers = [...Array(20).keys()];
      const replies = await Promise.all(numbers.map((number) => ask({ prompt: `Say: answer ${number}` })));
      return replies.every((reply, number) => reply.text === `answer ${number}`);
    },
  };
}

const cases = {};
for (const [name, provider] of Object.entries(PROVIDERS)) {
  for (const [one, ask] of Object.entries(casesOf(provider))) cases[`${name}.${one}`] = ask;
}
await run(cases);
