// Conversations in the browser's storage. Each has a key of its own, so that two tabs do not overwrite each other's.
//
// { id, title, updated, turns: [{ question, answers: [answer, …] }, …] }

import { parsed } from './storage.js'

const PREFIX = 'nudging/conversation/'
const SET_ASIDE = 'nudging/set-aside/'
const TITLE_LENGTH = 60

export function newConversation() {
  const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8)
  return { id, title: '', updated: 0, turns: [] }
}

export class ConversationStore {
  constructor(storage) {
    this.storage = storage
  }

  /** Return all conversations, the latest first. Broken ones are moved to another key. */
  all() {
    const ids = this.storage.keys().filter(key => key.startsWith(PREFIX)).map(key => key.slice(PREFIX.length))
    return ids.map(id => this.load(id)).filter(Boolean).sort((one, other) => other.updated - one.updated)
  }

  load(id) {
    const text = this.storage.get(PREFIX + id)
    if (text === null) return null
    const conversation = parsed(text)
    if (isConversation(conversation) && conversation.id === id) return conversation
    this.storage.set(SET_ASIDE + id, text)
    this.storage.remove(PREFIX + id)
    return null
  }

  /** Keep a conversation. Return false if the browser refused. */
  save(conversation) {
    conversation.updated = Date.now()
    conversation.title ||= titleFrom(conversation.turns[0]?.question ?? '')
    return this.put(conversation)
  }

  /** Keep a conversation as it is. */
  put(conversation) {
    return this.storage.set(PREFIX + conversation.id, JSON.stringify(conversation))
  }

  has(id) {
    return this.storage.get(PREFIX + id) !== null
  }

  delete(id) {
    this.storage.remove(PREFIX + id)
  }

  /** Return the id of the conversation that a key of the storage holds, or null. */
  idOf(key) {
    return key?.startsWith(PREFIX) ? key.slice(PREFIX.length) : null
  }
}

function titleFrom(question) {
  const line = question.trim().split('\n')[0]
  return line.length > TITLE_LENGTH ? line.slice(0, TITLE_LENGTH - 1).trimEnd() + '…' : line
}

const isString = value => typeof value === 'string'
const isListOf = (value, check) => Array.isArray(value) && value.every(check)
const isPiece = value => Array.isArray(value) && ['base', 'nudging'].includes(value[0]) && isString(value[1])
const isToken = value => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite)
const isAnswer = value =>
  ['nudged', 'base', 'nudging'].includes(value?.mode) && isListOf(value.pieces, isPiece) && isListOf(value.tokens, isToken)
const isTurn = value => isString(value?.question) && isListOf(value.answers, isAnswer)

function isConversation(value) {
  return isString(value?.id) && isString(value.title) && Number.isFinite(value.updated) && isListOf(value.turns, isTurn)
}
