// What the programs ask: see ../server.py for the answers.

export const MODEL = "nudged";
export const [SCRIPTED, KEYED, SINGLE, TINY] = process.argv.slice(2);
export const API_KEY = "sk-clients-test";
export const CALL_OSLO = 'Call: weather {"city": "Oslo"}';
export const CALL_TWO_CITIES = `${CALL_OSLO}\nCall: weather {"city": "Rome"}`;
export const SAY_CALL_OSLO = 'Say: {"name": "weather", "arguments": {"city": "Oslo"}}';
export const SAY_ALICE = 'Say: {"name": "Alice", "age": 30}';
export const LONG_QUESTION = "Say: no. " + "far away ".repeat(200);

export const user = (content) => [{ role: "user", content }];
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Return true as soon as a server answers no request, or false if it does so for too long. */
export async function isIdle(url) {
  for (let tries = 0; tries < 150; tries++) {
    const metrics = await (await fetch(url.replace(/\/v1$/, "/metrics"))).text();
    if (metrics.includes("\nnudging_running 0.0")) return true;
    await sleep(20);
  }
  return false;
}

// The AI SDK rejects promises of a stream that nobody reads. A case reports what it is interested in by itself.
process.on("unhandledRejection", () => {});

/** Run all cases one after another, and print what each returns or throws as one JSON object. */
export async function run(cases) {
  const found = {};
  for (const [name, ask] of Object.entries(cases)) {
    try {
      found[name] = await ask();
    } catch (error) {
      found[name] = { thrown: error?.constructor?.name, message: String(error?.message ?? error).slice(0, 2000) };
    }
  }
  console.log(JSON.stringify(found));
  process.exit(0);
}

/** Return the name and the message of what a promise throws. */
export async function thrown(promise) {
  try {
    await promise;
  } catch (error) {
    return [error.constructor.name, error.message];
  }
  return "nothing";
}
