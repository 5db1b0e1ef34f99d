// An answer as data: its text by author, and what is known about it. Conversations are kept in this form.

/** Return an answer without text. `mode` is "nudged", or the one model that writes it: "base" or "nudging". */
export function newAnswer(mode) {
  return { mode, pieces: [], tokens: [], finish: null, error: null }
}

export function textOf(answer) {
  return answer.pieces.map(([, text]) => text).join('')
}

/** Add a streamed chunk to an answer. */
export function addChunk(answer, chunk) {
  if (chunk.usage) answer.usage = chunk.usage.completion_tokens
  const choice = chunk.choices?.[0]
  if (!choice) return
  const length = textOf(answer).length
  if (choice.nudging?.text) addPiece(answer, choice.nudging.author, choice.nudging.text)
  if (choice.logprobs?.content) addTokens(answer, choice.logprobs.content, choice.nudging?.text ? length : null)
  if (choice.finish_reason) answer.finish = choice.finish_reason
}

function addPiece(answer, author, text) {
  const last = answer.pieces.at(-1)
  if (last?.[0] === author) last[1] += text
  else answer.pieces.push([author === 'nudging' ? 'nudging' : 'base', text])
}

/** Add the base model's tokens: [end of the token in the text, its probability]. */
function addTokens(answer, content, start) {
  let end = start ?? answer.tokens.at(-1)?.[0] ?? 0
  for (const { token, logprob } of content) {
    end += token.length
    answer.tokens.push([end, Number(Math.exp(logprob).toPrecision(3))])
  }
}

/** Return the share of the text that the nudging model wrote. */
export function nudgedShare(answer) {
  const length = pieces => pieces.reduce((sum, [, text]) => sum + text.length, 0)
  return length(answer.pieces.filter(([author]) => author === 'nudging')) / (length(answer.pieces) || 1)
}

/** Return who wrote the text, as authorship.js reads it; with `confidence`, token by token where it is known. */
export function runsOf(answer, confidence) {
  const runs = []
  const tokens = confidence ? answer.tokens : []
  let index = 0
  let start = 0
  for (const [author, text] of answer.pieces) {
    const pieceEnd = start + text.length
    while (start < pieceEnd) {
      while (index < tokens.length && tokens[index][0] <= start) index++
      const [tokenEnd, probability] = tokens[index] ?? [pieceEnd, null]
      const end = Math.min(pieceEnd, tokenEnd)
      runs.push({ end, ...look(author, probability) })
      start = end
    }
  }
  return runs
}

/** Return [token, author, probability] for each token whose probability is known. */
export function tokenTable(answer) {
  const text = textOf(answer)
  let start = 0
  return runsOf(answer, true).map(({ end, author, probability }) => {
    const token = text.slice(start, end)
    start = end
    return [token, author, probability]
  }).filter(([, , probability]) => probability !== null)
}

const LEVELS = [0.05, 0.2, 0.4, 0.6, 0.8] // below the first the shade is strongest, above the last there is none

function look(author, probability) {
  if (probability === null) return { author, probability, className: author }
  const level = LEVELS.findIndex(bound => probability < bound)
  const shade = level < 0 ? '' : ` unsure-${LEVELS.length - level}`
  return { author, probability, className: author + shade, title: `base model: ${percent(probability)}` }
}

export function percent(share) {
  return share > 0 && share < 0.01 ? 'under 1%' : `${Math.round(100 * share)}%`
}
