import { Script } from "./redis-link.js";

/**
 * What lies under one migration's keys, all in one hash slot, in the order in which every script gets them:
 *
 * record   hash: revision, position, pending, generation, interrupted, ground, joins
 * nodes    hash: id -> registration        joined   hash: id -> when
 * reports  hash: id -> report              live     sorted set: id by its last renewal
 * present  the same of live app and proxy nodes alone
 * evicted  sorted set: id by its last renewal
 * locks    hash: name -> "until holder"    ledger   list: "at entry", newest first
 * puts     counter that orders documents   kinds    set of the kinds of documents
 *
 * and for each kind of documents, given to the scripts that need them as keys 12 and 13: `docs:<kind>`, a hash of the
 * bodies, and `order:<kind>`, a sorted set of the ids by their last put.
 *
 * JSON passes through as text: Lua's own numbers would lose digits. Times are Redis' TIME in whole milliseconds.
 */
export const KEYS = [
  "record",
  "nodes",
  "joined",
  "reports",
  "live",
  "present",
  "evicted",
  "locks",
  "ledger",
  "puts",
  "kinds",
] as const;

const COMMON = `
local record, nodes, joined, reports, live, present, evicted, locks, ledger, puts, kinds = unpack(KEYS, 1, 11)
local docs, order = KEYS[12], KEYS[13]
local function int(number) return string.format('%.0f', number) end
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function view()
  return redis.call('HMGET', record, 'revision', 'position', 'pending', 'generation', 'interrupted')
end
local function forget(id)
  redis.call('HDEL', nodes, id)
  redis.call('HDEL', joined, id)
  redis.call('HDEL', reports, id)
  redis.call('ZREM', live, id)
  redis.call('ZREM', present, id)
  redis.call('ZREM', evicted, id)
end
`;

/** A script that answers nil, and does nothing, where there is no record. */
const script = (body: string) =>
  new Script(`${COMMON}if redis.call('EXISTS', record) == 0 then return nil end\n${body}`);

/** position, pending, generation, interrupted, ground */
export const SETUP = new Script(`${COMMON}
if redis.call('EXISTS', record) == 1 then return 0 end
redis.call('HSET', record, 'revision', 1, 'position', ARGV[1], 'pending', ARGV[2], 'generation', ARGV[3],
  'interrupted', ARGV[4], 'ground', ARGV[5], 'joins', 0)
return 1`);

export const READ = script(`return view()`);

/** revision, position, pending, generation, interrupted, ground -> the record, or 0 when somebody was faster */
export const COMPARE_AND_SET = script(`
if redis.call('HGET', record, 'revision') ~= ARGV[1] then return 0 end
redis.call('HSET', record, 'position', ARGV[2], 'pending', ARGV[3], 'generation', ARGV[4], 'interrupted', ARGV[5],
  'ground', ARGV[6])
redis.call('HINCRBY', record, 'revision', 1)
return view()`);

/** id, registration, whether it is an app or a proxy (1) or a job (0), presence -> the record, or 0 for a taken id */
export const JOIN = script(`
local id, now = ARGV[1], clock()
if redis.call('HEXISTS', nodes, id) == 1 then return 0 end
if ARGV[3] == '1' then
  local state = redis.call('HMGET', record, 'joins', 'ground')
  local there = redis.call('ZCOUNT', present, int(now - tonumber(ARGV[4])), '+inf')
  if there == 0 and state[1] ~= '0' and state[2] == '0' then
    redis.call('HSET', record, 'interrupted', '1')
    redis.call('HINCRBY', record, 'revision', 1)
  end
  redis.call('HINCRBY', record, 'joins', 1)
  redis.call('ZADD', present, int(now), id)
end
redis.call('HSET', nodes, id, ARGV[2])
redis.call('HSET', joined, id, int(now))
redis.call('ZADD', live, int(now), id)
return view()`);

/** id, report, overdue after -> the record, accepted (1 or 0), the overdue ids */
export const RENEW = script(`
local id, now = ARGV[1], clock()
local accepted = 0
if redis.call('ZSCORE', live, id) then
  accepted = 1
  redis.call('ZADD', live, 'XX', int(now), id)
  redis.call('ZADD', present, 'XX', int(now), id)
  redis.call('HSET', reports, id, ARGV[2])
end
local overdue = {}
for _, other in ipairs(redis.call('ZRANGEBYSCORE', live, '-inf', '(' .. int(now - tonumber(ARGV[3])))) do
  if other ~= id then overdue[#overdue + 1] = other end
end
return {view(), accepted, overdue}`);

/** id */
export const LEAVE = script(`
if redis.call('ZSCORE', live, ARGV[1]) then forget(ARGV[1]) end
return 1`);

/** id, overdue after or '' */
export const EVICT = script(`
local renewed = redis.call('ZSCORE', live, ARGV[1])
if renewed and (ARGV[2] == '' or tonumber(renewed) < clock() - tonumber(ARGV[2])) then
  redis.call('ZREM', live, ARGV[1])
  redis.call('ZREM', present, ARGV[1])
  redis.call('ZADD', evicted, renewed, ARGV[1])
end
return 1`);

/** id */
export const FORGET = script(`
if redis.call('ZSCORE', evicted, ARGV[1]) then forget(ARGV[1]) end
return 1`);

/** flat lists: id and registration, id and joining, id and report, id and renewal of the live, of the evicted */
export const NODES = script(`
return {redis.call('HGETALL', nodes), redis.call('HGETALL', joined), redis.call('HGETALL', reports),
  redis.call('ZRANGE', live, 0, -1, 'WITHSCORES'), redis.call('ZRANGE', evicted, 0, -1, 'WITHSCORES')}`);

/** name, holder, ttl -> 1 or 0 */
export const LOCK = script(`
local now = clock()
local untilWhen, holder = string.match(redis.call('HGET', locks, ARGV[1]) or '', '^(%d+) (.*)$')
if holder and holder ~= ARGV[2] and tonumber(untilWhen) > now then return 0 end
redis.call('HSET', locks, ARGV[1], int(now + tonumber(ARGV[3])) .. ' ' .. ARGV[2])
return 1`);

/** name, holder */
export const UNLOCK = script(`
local holder = string.match(redis.call('HGET', locks, ARGV[1]) or '', '^%d+ (.*)$')
if holder == ARGV[2] then redis.call('HDEL', locks, ARGV[1]) end
return 1`);

/** id -> the body in a list, empty for none */
export const GET_DOCUMENT = script(`return {redis.call('HGET', docs, ARGV[1]) or nil}`);

/** kind, id, body */
export const PUT_DOCUMENT = script(`
redis.call('SADD', kinds, ARGV[1])
redis.call('HSET', docs, ARGV[2], ARGV[3])
redis.call('ZADD', order, redis.call('INCR', puts), ARGV[2])
return 1`);

/** id */
export const DELETE_DOCUMENT = script(`
redis.call('HDEL', docs, ARGV[1])
redis.call('ZREM', order, ARGV[1])
return 1`);

/** limit -> a flat list of ids and bodies */
export const LIST_DOCUMENTS = script(`
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', order, 0, tonumber(ARGV[1]) - 1)) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', docs, id)
end
return found`);

/** entry */
export const APPEND = script(`return redis.call('LPUSH', ledger, int(clock()) .. ' ' .. ARGV[1])`);

/** first, last */
export const LEDGER = script(`return redis.call('LRANGE', ledger, ARGV[1], ARGV[2])`);

/** The kinds of documents, which `DESTROY` must be given the keys of. */
export const KINDS = new Script(`${COMMON}return redis.call('SMEMBERS', kinds)`);

/** how many kinds there were -> 1, or 0 when another kind came in between. Any number of keys. */
export const DESTROY = new Script(`${COMMON}
if redis.call('SCARD', kinds) ~= tonumber(ARGV[1]) then return 0 end
for i = 1, #KEYS do redis.call('DEL', KEYS[i]) end
return 1`);
