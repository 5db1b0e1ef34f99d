// Requests to the server.

/** Return the entry of the server's model, with its settings where it tells them. */
export async function fetchModel(key) {
  const response = await fetch('v1/models', { headers: authorization(key) })
  if (!response.ok) return {}
  return (await response.json()).data?.[0] ?? {}
}

/** Yield the chunks of a streamed answer. */
export async function* streamChunks(body, key, signal) {
  const response = await post(body, key, signal)
  for await (const data of eventData(response)) {
    if (data === '[DONE]') return
    const chunk = JSON.parse(data)
    if (chunk.error) throw new Error(chunk.error.message)
    yield chunk
  }
}

async function post(body, key, signal) {
  const headers = { 'content-type': 'application/json', ...authorization(key) }
  let response
  try {
    response = await fetch('v1/chat/completions', { method: 'POST', headers, body: JSON.stringify(body), signal })
  } catch {
    throw new Error('The server cannot be reached. Is it still running?')
  }
  if (response.ok) return response
  const reply = await response.json().catch(() => ({}))
  throw new Error(reply.error?.message ?? `The server answered with status ${response.status}.`)
}

function authorization(key) {
  return key ? { authorization: `Bearer ${key}` } : {}
}

/** Yield the data of each server-sent event. Comments and other fields are left out. */
async function* eventData(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const events = (rest + value).split(/\r?\n\r?\n/)
    rest = events.pop()
    for (const event of events) {
      const lines = event.split(/\r?\n/).filter(line => line.startsWith('data:'))
      if (lines.length) yield lines.map(line => line.slice(5).trimStart()).join('\n')
    }
  }
}
