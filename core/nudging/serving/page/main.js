// The page: asks, shows and keeps conversations.

import { addChunk, newAnswer, textOf } from './answer.js'
import { fetchModel, streamChunks } from './api.js'
import { ConversationStore, newConversation } from './conversations.js'
import { $, button, submitOnEnter } from './dom.js'
import { Panel } from './panel.js'
import { Follower } from './scroll.js'
import { Settings } from './settings.js'
import { Sidebar } from './sidebar.js'
import { SafeStorage } from './storage.js'
import { setTheme, theme } from './theme.js'
import { Transcript } from './transcript.js'

const CURRENT = 'nudging/current'
const API_KEY = 'nudging/api-key'
const COLUMNS = { base: 'Base model alone', nudging: 'Nudging model alone', nudged: 'Nudged' }

const storage = new SafeStorage('localStorage')
const tab = new SafeStorage('sessionStorage') // of this tab, until it is closed
const store = new ConversationStore(storage)
const settings = new Settings(storage, () => transcript.render())
const follower = new Follower($('latest'))
const conversationsPanel = new Panel($('conversations'), $('show-conversations'), '(min-width: 52rem)', document.querySelector('main'))
const settingsPanel = new Panel($('settings'), $('show-settings'), '(min-width: 78rem)', document.querySelector('main'))
const sidebar = new Sidebar($('list'), { open: openConversation, rename: renameConversation, remove: deleteConversation })
const transcript = new Transcript($('log'), {
  columns: mode => ({ title: COLUMNS[mode], model: models[mode] ?? '' }),
  edit: (index, question) => ask(question, index),
  retry: index => ask(conversation.turns[index].question, index),
  confidence: () => settings.confidence,
  rendered: () => follower.follow(running !== null),
})

let models = {} // names of the two models, by mode
let conversation = newConversation()
let announced = null // the timer that clears the announcement
let running = null // the AbortController of the answers that are being written

// Answers

/** Ask a question after the first `index` turns, and drop the turns after them. */
async function ask(question, index = conversation.turns.length) {
  if (running) stop()
  const controller = running = new AbortController()
  const asked = conversation
  const messages = history(asked.turns.slice(0, index), question)
  const turn = { question, answers: (settings.compare ? ['base', 'nudging', 'nudged'] : ['nudged']).map(newAnswer) }
  asked.turns.splice(index, Infinity, turn)
  transcript.truncate(index)
  const views = transcript.add(turn)
  keep(asked)
  showState()
  follower.jump()
  $('question').focus()
  $('announcer').textContent = ''

  await Promise.all(views.map(view => write(view, messages, controller.signal)))

  if (running === controller) running = null
  if (store.has(asked.id)) keep(asked) // it may have been deleted meanwhile
  showState()
  if (conversation === asked && asked.turns.includes(turn)) announce(views)
}

/** Return the messages of a request: the earlier turns that have an answer, and the question. */
function history(turns, question) {
  const answered = turns.flatMap(({ question, answers }) => {
    const content = textOf(answers.at(-1) ?? { pieces: [] })
    return content ? [{ role: 'user', content: question }, { role: 'assistant', content }] : []
  })
  return [...answered, { role: 'user', content: question }]
}

/** Stream an answer into its view. */
async function write(view, messages, signal) {
  const { answer } = view
  const started = performance.now()
  const body = { messages, stream: true, stream_options: { include_usage: true }, ...settings.chosen }
  if (answer.mode !== 'nudged') body.alone = answer.mode
  answer.rule = settings.description
  view.start()
  try {
    for await (const chunk of streamChunks(body, tab.get(API_KEY), signal)) {
      addChunk(answer, chunk)
      view.update()
    }
    if (answer.finish === null) throw new Error('The connection ended before the answer did.')
  } catch (error) {
    if (signal.aborted) answer.finish = signal.reason
    else answer.error = error.message
  }
  answer.seconds = (performance.now() - started) / 1000
  view.finish()
}

function stop(reason = 'stopped') {
  running?.abort(reason)
  running = null
  showState()
  $('question').focus()
}

/** Let screen readers say what came, once. */
function announce(views) {
  clearTimeout(announced)
  announced = setTimeout(() => { $('announcer').textContent = '' }, 10_000) // it would be read twice further on
  $('announcer').textContent = views.map(({ answer, text, options }) => {
    if (answer.error !== null) return `${options.title}: ${answer.error}`
    return `${options.title}${answer.finish === 'stopped' ? ', stopped' : ''}: ${text.textContent}`
  }).join(' ')
}

// Conversations

function openConversation(id) {
  const opened = store.load(id)
  if (!opened) return startConversation()
  show(opened)
  conversationsPanel.uncover()
  $('question').focus()
}

function startConversation() {
  show(newConversation())
  conversationsPanel.uncover()
  $('question').focus()
}

function show(opened) {
  if (running) stop()
  conversation = opened
  for (const answer of opened.turns.flatMap(turn => turn.answers)) {
    if (answer.finish === null && answer.error === null) answer.finish = 'interrupted' // the tab was closed
  }
  tab.set(CURRENT, opened.id)
  transcript.show(opened.turns)
  $('announcer').textContent = ''
  showState()
  follower.jump()
}

function renameConversation(id, title) {
  const renamed = id === conversation.id ? conversation : store.load(id)
  if (renamed) {
    renamed.title = title
    store.put(renamed)
  }
  showState()
}

function deleteConversation(id) {
  const ids = store.all().map(one => one.id)
  const deleted = id === conversation.id ? conversation : store.load(id)
  const next = ids[ids.indexOf(id) + 1] ?? ids[ids.indexOf(id) - 1]
  if (id === conversation.id) show(newConversation())
  store.delete(id)
  showState()
  if (!next || !sidebar.focus(next)) $('new').focus()
  notice(`Deleted: ${deleted.title}`, 'Undo', () => {
    store.put(deleted)
    openConversation(id)
  })
}

function keep(kept) {
  if (!store.save(kept)) {
    notice('This browser does not keep the conversation: its storage is full or forbidden. Deleting others may help.')
  }
}

// The page

function showState() {
  const title = conversation.title || 'New conversation'
  $('title').textContent = title
  document.title = conversation.title ? `${title} · nudging` : 'nudging'
  $('welcome').hidden = conversation.turns.length > 0
  $('send').hidden = running !== null
  $('stop').hidden = running === null
  sidebar.show(store.all(), conversation.id)
}

function notice(text, action, act) {
  const dismiss = () => $('notice').replaceChildren()
  const buttons = [button('Dismiss', () => { dismiss(); $('question').focus() })]
  if (action) buttons.unshift(button(action, () => { dismiss(); act() }))
  $('notice').replaceChildren(text, ...buttons)
}

async function showModel() {
  const { nudging } = await fetchModel(tab.get(API_KEY)).catch(() => ({}))
  if (!nudging) return
  const shortName = name => String(name ?? '').split('/').filter(Boolean).at(-1) ?? ''
  models = { base: shortName(nudging.base_model), nudging: shortName(nudging.nudging_model) }
  models.nudged = models.base && models.nudging ? `${models.base} + ${models.nudging}` : ''
  $('base-name').textContent = models.base
  $('nudging-name').textContent = models.nudging
  settings.setDefaults(nudging.settings ?? {})
}

$('ask').addEventListener('submit', event => {
  event.preventDefault()
  const question = $('question').value.trim()
  if (!question || running) return
  $('question').value = ''
  $('notice').replaceChildren()
  ask(question)
})
submitOnEnter($('question'))
$('stop').addEventListener('click', () => stop())
$('new').addEventListener('click', startConversation)
$('theme').value = theme()
$('theme').addEventListener('change', () => setTheme($('theme').value))
$('key').value = tab.get(API_KEY) ?? ''
$('key').addEventListener('input', () => tab.set(API_KEY, $('key').value.trim()))
$('key').addEventListener('change', showModel)
$('page-settings').addEventListener('submit', event => event.preventDefault())
addEventListener('keydown', event => {
  if (event.key === 'Escape' && running) stop()
})
addEventListener('pagehide', () => {
  if (!running) return
  stop('interrupted')
  store.save(conversation)
})
addEventListener('storage', event => { // another tab changed something
  if (!running && store.idOf(event.key) === conversation.id) show(store.load(conversation.id) ?? newConversation())
  else if (event.key === null || store.idOf(event.key)) showState()
})

await showModel()
show(store.load(tab.get(CURRENT) ?? '') ?? newConversation())
