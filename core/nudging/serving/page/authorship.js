// A plugin for markdown-it that marks the author of every part of the rendered text.
//
// markdown-it tells the source lines of a block, but not the place of a text inside them. So this walks through a
// block's source and its tokens together, and finds every text after the text before it.
//
// `env.runs` says who wrote the source: [{ end, author, className, title }, …], in order, each up to the offset `end`.

export function authorship(md) {
  md.core.ruler.before('text_join', 'authorship', markTexts)
  const { escapeHtml } = md.utils

  const span = (text, className, title) => {
    if (!text) return ''
    const attribute = title ? ` title="${escapeHtml(title)}"` : ''
    return `<span class="${escapeHtml(className)}"${attribute}>${escapeHtml(text)}</span>`
  }
  const authored = ({ text, run }) => { // the blank before a word has a span of its own, so that it is not underlined
    if (!run) return escapeHtml(text)
    const [blank] = text.match(/^\s*/)
    return span(blank, `${run.className} blank`, run.title) + span(text.slice(blank.length), run.className, run.title)
  }
  const spans = token => token.meta.parts.map(authored).join('')
  const block = (tokens, index) => `<pre tabindex="0"><code>${spans(tokens[index])}</code></pre>\n`

  md.renderer.rules.authored_text = (tokens, index) => spans(tokens[index])
  md.renderer.rules.code_inline = (tokens, index) => `<code>${spans(tokens[index])}</code>`
  md.renderer.rules.fence = block
  md.renderer.rules.code_block = block
}

function markTexts(state) {
  const lines = lineStarts(state.src)
  const walk = new SourceWalk(state.src, state.env.runs ?? [], state.md.helpers)
  for (const token of state.tokens) {
    if (token.map && token.nesting >= 0) walk.enter(lines[token.map[0]], lines[token.map[1]] ?? state.src.length)
    if (token.type === 'inline') token.children = token.children.map(child => marked(child, walk, state))
    else if (token.type === 'fence') markCode(token, walk, token.markup, token.info)
    else if (token.type === 'code_block') markCode(token, walk)
    else if (token.type === 'list_item_open') markItem(token, walk)
    else if (token.type === 'blockquote_open' || token.markup.startsWith('#')) walk.skipNext(token.markup)
  }
}

/** Return this inline token, or one with authors in place of a text. */
function marked(token, walk, state) {
  const isEscape = token.type === 'text_special'
  if (token.type === 'text' || (isEscape && token.content === token.markup)) {
    return authoredText(token, walk.take(token.content), state)
  }
  if (isEscape) { // a backslash or an entity: its markup is in the source
    const run = walk.runAt(walk.skip(token.markup))
    return authoredText(token, [{ text: token.content, run }], state)
  }
  if (token.type === 'code_inline') markCode(token, walk, token.markup)
  else if (token.type === 'softbreak' || token.type === 'hardbreak') walk.skip('\n')
  else if (token.type === 'link_open') walk.skip({ '': '[', autolink: '<' }[token.markup] ?? '')
  else if (token.type === 'link_close') {
    if (token.markup === '') walk.skipLinkEnd()
    else if (token.markup === 'autolink') walk.skip('>')
  } else walk.skip(token.markup) // emphasis
  return token
}

/** Mark who wrote the bullet or the number of a list item. */
function markItem(token, walk) {
  const run = walk.runAt(walk.skipNext(token.info + token.markup))
  if (run) token.attrJoin('class', `by-${run.author}`)
}

function authoredText(token, parts, state) {
  const result = new state.Token('authored_text', '', 0)
  result.content = token.content
  result.meta = { parts }
  return result
}

function markCode(token, walk, ...before) {
  for (const text of before) walk.skip(text)
  token.meta = { parts: walk.take(token.content) }
  if (token.markup) walk.skip(token.markup)
}

function lineStarts(source) {
  const starts = [0]
  for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

/** A cursor in the source, which only moves forward, and not beyond the current block. */
class SourceWalk {
  constructor(source, runs, helpers) {
    Object.assign(this, { source, runs, helpers, at: 0, end: source.length })
  }

  /** Move to a block's first line. */
  enter(start, end) {
    this.at = Math.max(this.at, start)
    this.end = end
  }

  /** Move behind the next occurrence of a text, and return where it begins. */
  skip(text) {
    const start = this.find(text)
    if (start < 0) return this.at
    this.at = start + text.length
    return start
  }

  /** Move behind a text if it comes next, after white space, and return where it begins. */
  skipNext(text) {
    const start = this.at + this.source.slice(this.at).match(/^\s*/)[0].length
    if (this.source.startsWith(text, start)) this.at = start + text.length
    return start
  }

  /** Move behind the end of a link: `](target "title")`, `][label]` or `]`. */
  skipLinkEnd() {
    this.skip(']')
    const spaces = at => at + this.source.slice(at).match(/^\s*/)[0].length
    if (this.source[this.at] === '(') {
      const target = this.helpers.parseLinkDestination(this.source, spaces(this.at + 1), this.end)
      if (target.ok) this.at = target.pos
      const title = this.helpers.parseLinkTitle(this.source, spaces(this.at), this.end)
      if (title.ok) this.at = title.pos
      this.skip(')')
    } else if (this.source[this.at] === '[') this.skip(']')
  }

  /** Move behind a text, and return its parts: [{ text, run }, …]. */
  take(text) {
    const parts = []
    for (const line of text.split(/(?<=\n)/)) {
      const start = this.find(line)
      if (start >= 0) this.takeRange(start, line.length, parts)
      else for (const character of line) this.takeCharacter(character, parts)
    }
    return parts
  }

  takeRange(start, length, parts) {
    const end = start + length
    for (let at = start; at < end;) {
      const run = this.runAt(at)
      const next = Math.min(end, Math.max(run?.end ?? end, at + 1))
      addPart(parts, this.source.slice(at, next), run)
      at = next
    }
    this.at = end
  }

  /** Take one character of a text that is not in the source as it is, such as code over two lines. */
  takeCharacter(character, parts) {
    const isBlank = /\s/.test(character) // a line break may have become a space, and a tab several
    const start = isBlank ? this.source.slice(this.at, this.at + 1).search(/\s/) + this.at : this.find(character)
    const isNear = start >= this.at && start - this.at < 40
    addPart(parts, character, this.runAt(isNear ? start : this.at))
    if (isNear) this.at = start + character.length
  }

  find(text) {
    const start = this.source.indexOf(text, this.at)
    return start + text.length <= this.end ? start : -1
  }

  /** Return the run of a place in the source, by binary search. */
  runAt(place) {
    let low = 0
    let high = this.runs.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.runs[middle].end > place) high = middle
      else low = middle + 1
    }
    return this.runs[low] ?? this.runs.at(-1)
  }
}

function addPart(parts, text, run) {
  const last = parts.at(-1)
  if (last && last.run === run) last.text += text
  else parts.push({ text, run })
}
