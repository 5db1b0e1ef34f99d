// Markdown to HTML. HTML in the markdown is shown as text, pictures are links, and links lead to the web or to mail only.

import './vendor/markdown-it.min.js'
import { authorship } from './authorship.js'

const ANSWER_HEADING = 4 // the page's own headings are above

const md = globalThis.markdownit({ html: false, linkify: true, breaks: true }).disable('image').use(authorship)
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false })
md.validateLink = target => /^(https?:\/\/|mailto:)/i.test(target)

md.core.ruler.push('headings', ({ tokens }) => {
  for (const token of tokens) {
    if (token.type.startsWith('heading_')) token.tag = 'h' + Math.min(6, Number(token.tag[1]) + ANSWER_HEADING - 1)
  }
})
md.renderer.rules.link_open = (tokens, index, options, env, renderer) => {
  tokens[index].attrSet('rel', 'noopener noreferrer')
  tokens[index].attrSet('target', '_blank')
  return renderer.renderToken(tokens, index, options)
}
md.renderer.rules.table_open = () => '<div class="table" tabindex="0"><table>\n'
md.renderer.rules.table_close = () => '</table></div>\n'

/** Return the HTML of each top-level block. `runs` are the authors, as in authorship.js. */
export function renderBlocks(text, runs) {
  const env = { runs }
  const source = text.replace(/[\r\0]/g, ' ') // markdown-it removes them, and offsets would no longer fit
  const blocks = []
  let block = []
  for (const token of md.parse(source, env)) {
    block.push(token)
    if (token.level === 0 && token.nesting <= 0) {
      blocks.push(md.renderer.render(block, md.options, env))
      block = []
    }
  }
  return blocks
}
