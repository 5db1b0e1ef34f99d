// OpenAI's JavaScript library.

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
  API_KEY, CALL_OSLO, CALL_TWO_CITIES, KEYED, LONG_QUESTION, MODEL, SAY_ALICE, SAY_CALL_OSLO, SCRIPTED, SINGLE, TINY,
  isIdle, run, sleep, thrown, user,
} from "./questions.mjs";

const at = (baseURL, options = {}) => new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, ...options });
const client = at(SCRIPTED);
const single = at(SINGLE);
const model = MODEL;
const parameters = {
  type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
};
const weather = { type: "function", function: { name: "weather", parameters } };
const now = { type: "function", function: { name: "now" } };
const flatWeather = { type: "function", name: "weather", parameters, strict: true };
const Person = z.object({ name: z.string(), age: z.number() });
const chat = (options, from = client) => from.chat.completions.create({ model, ...options });
const text = (reply) => reply.choices[0].message.content;

async function streamedCalls(stream) {
  const calls = [];
  let end;
  for await (const chunk of stream) {
    for (const part of chunk.choices[0]?.delta.tool_calls ?? []) {
      calls[part.index] ??= { id: part.id, name: part.function.name, arguments: "" };
      calls[part.index].arguments += part.function.arguments ?? "";
    }
    end = chunk.choices[0]?.finish_reason ?? end;
  }
  const unique = new Set(calls.map((call) => call.id)).size;
  return [calls.map((call) => [call.name, JSON.parse(call.arguments)]), unique, end];
}

await run({
  models: async () => (await client.models.list()).data.map((one) => one.id),
  chat: async () => text(await chat({ messages: user("Say: Hello there.") })),
  developer: async () =>
    text(await chat({ messages: [{ role: "developer", content: "Be brief." }, ...user("Repeat the prompt.")] })),
  sent_back: async () => {
    const messages = user("Say: first");
    messages.push((await chat({ messages })).choices[0].message, ...user("Repeat the prompt."));
    return text(await chat({ messages }));
  },
  stream: async () => {
    let joined = "";
    let usage;
    const stream = await chat({ messages: user("Count: 5"), stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) {
      joined += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return [joined, usage.total_tokens === usage.prompt_tokens + usage.completion_tokens];
  },
  stream_helper: async () => {
    const stream = client.chat.completions.stream({ model, messages: user("Count: 5") });
    let deltas = "";
    stream.on("content", (delta) => (deltas += delta));
    return [text(await stream.finalChatCompletion()), deltas];
  },
  call: async () => {
    const messages = user(CALL_OSLO);
    const { message, finish_reason } = (await chat({ messages, tools: [weather, now] })).choices[0];
    messages.push(message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" });
    return [message.content, finish_reason, text(await chat({ messages, tools: [weather] }))];
  },
  required: async () => {
    const choices = ["required", { type: "function", function: { name: "weather" } }];
    const replies = await Promise.all(
      choices.map((tool_choice) => chat({ messages: user(SAY_CALL_OSLO), tools: [weather, now], tool_choice })),
    );
    return replies.map((reply) => reply.choices[0].message.tool_calls[0].function.name);
  },
  streamed_calls: async () =>
    streamedCalls(await chat({ messages: user(CALL_TWO_CITIES), tools: [weather], stream: true })),
  run_tools: async () => {
    const run = client.chat.completions.runTools({
      model,
      messages: user(CALL_OSLO),
      tools: [{ ...weather, function: { ...weather.function, function: () => "rain", parse: JSON.parse } }],
    });
    return run.finalContent();
  },
  parse: async () => {
    const options = { messages: user(SAY_ALICE), response_format: zodResponseFormat(Person, "person") };
    const reply = await client.chat.completions.parse({ model, ...options });
    const streamed = await client.chat.completions.stream({ model, ...options }).finalChatCompletion();
    return [reply.choices[0].message.parsed, streamed.choices[0].message.parsed];
  },
  several: async () => {
    const options = { messages: user("the sky"), n: 2, max_tokens: 5, logprobs: true, temperature: 1, seed: 1 };
    const reply = await chat(options, at(TINY));
    return reply.choices.map((choice) => choice.logprobs.content.length > 0);
  },
  completions: async () => {
    let joined = "";
    for await (const chunk of await client.completions.create({ model, prompt: "Say: a b", stream: true })) {
      joined += chunk.choices[0]?.text ?? "";
    }
    return joined;
  },
  wrong_key: () => thrown(chat({ messages: user("Say: no") }, at(KEYED))),
  unknown_model: () => thrown(client.chat.completions.create({ model: "gpt-9", messages: user("Say: no") })),
  invalid: () => thrown(chat({ messages: user("Say: no"), temperature: -1 })),
  too_long: () => thrown(chat({ messages: user(LONG_QUESTION) }, at(KEYED, { apiKey: API_KEY }))),
  timeout: async () => [await thrown(chat({ messages: user("Count: 500") }, at(SINGLE, { timeout: 400 }))), await isIdle(SINGLE)],
  aborted: async () => {
    const stream = await chat({ messages: user("Count: 500"), stream: true }, single);
    let refused;
    for await (const _ of stream) {
      refused = await thrown(chat({ messages: user("Say: now") }, single));
      stream.controller.abort();
    }
    return [refused[0], await isIdle(SINGLE)];
  },
  aborted_by_signal: async () => {
    const controller = new AbortController();
    const asked = thrown(single.chat.completions.create({ model, messages: user("Count: 500") }, { signal: controller.signal }));
    await sleep(300);
    controller.abort();
    return [(await asked)[0], await isIdle(SINGLE)];
  },
  tried_again: async () => {
    const first = chat({ messages: user("Count: 30") }, single);
    await sleep(100);
    const second = await chat({ messages: user("Say: now") }, at(SINGLE, { maxRetries: 4 }));
    await first;
    return text(second);
  },
  twenty: async () => {
    const numbers = [...Array(20).keys()];
    const replies = await Promise.all(numbers.map((number) => chat({ messages: user(`Say: answer ${number}`) })));
    return replies.every((reply, number) => text(reply) === `answer ${number}`);
  },
  responses: async () => {
    const reply = await client.responses.create({ model, input: "Say: Hello there.", instructions: "Be brief." });
    return [reply.output_text, reply.status, reply.usage.total_tokens > 0];
  },
  responses_stream: async () => {
    const events = [];
    let joined = "";
    for await (const event of await client.responses.create({ model, input: "Count: 5", stream: true })) {
      events.push(event);
      if (event.type === "response.output_text.delta") joined += event.delta;
    }
    const ordered = events.every((event, index) => event.sequence_number === index);
    return [joined, events[0].type, events.at(-1).type, ordered];
  },
  responses_stream_helper: async () =>
    (await client.responses.stream({ model, input: "Count: 5" }).finalResponse()).output_text,
  responses_call: async () => {
    const input = [{ role: "user", content: CALL_OSLO }];
    const reply = await client.responses.create({ model, input, tools: [flatWeather] });
    const call = reply.output.find((item) => item.type === "function_call");
    input.push(...reply.output, { type: "function_call_output", call_id: call.call_id, output: "sunny" });
    const again = await client.responses.create({ model, input, tools: [flatWeather] });
    return [call.name, JSON.parse(call.arguments), again.output_text];
  },
  responses_parse: async () => {
    const options = { model, input: SAY_ALICE, text: { format: zodTextFormat(Person, "person") } };
    const streamed = await client.responses.stream(options).finalResponse();
    return [(await client.responses.parse(options)).output_parsed, streamed.output_parsed];
  },
  responses_refused: async () =>
    (await thrown(client.responses.create({ model, input: "Say: no", previous_response_id: "resp_1" }))),
  responses_aborted: async () => {
    const stream = await single.responses.create({ model, input: "Count: 500", stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") stream.controller.abort();
    return isIdle(SINGLE);
  },
});
