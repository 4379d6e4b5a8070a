-- What all scripts share: this text stands before each of them (see index.ts, which also defines ID_LENGTH).
--
-- KEYS[1] is the seal, KEYS[2] the dirty index; then two keys for each session: its own key and its sidecar, and where
-- memcached's clients are served (ITEMS) a third, its item key; all in one slot. ARGV[1] is what the seal must begin with: the trusted generation, the run of the server that the caller is
-- connected to, and the prefix of the sessions' keys. Nonces, ids and times of expiry are made by the caller.
--
-- The sidecar is one string that begins with its tag:
--   no key        nothing is under way
--   L nonce       a lease: somebody is copying L into R
--   D nonce       dirty: R is ahead of L
--   I ids         open intents that never overlapped (cont = 0)
--   J ids         open intents, of which two overlapped since there was none (cont = 1)
-- One string is enough, since intents, dirty mark and lease exclude each other.
--
-- The item key holds what such a client knows besides the value: flags (4 bytes), then the token (8 bytes) if one was
-- given out. It is there only where these are not the usual flags and no token, and lives exactly as long as the value.

-- Rule 10: an R that is not the one that was armed does nothing.
local armed = redis.call('GET', KEYS[1])
if not armed or string.sub(armed, 1, #ARGV[1]) ~= ARGV[1] then
  return redis.error_reply('SFLOST the seal is not the expected one')
end

local LEASE_LIFETIME = 30000
-- Puts every destroy before every write in the dirty index.
local DESTROYS_FIRST = 1e15

local function tag_of(mark)
  return mark and string.sub(mark, 1, 1) or ''
end

local function has_intents(mark)
  local tag = tag_of(mark)
  return tag == 'I' or tag == 'J'
end

local function is_dirty(mark)
  return tag_of(mark) == 'D'
end

-- Where the id stands in a mark with intents, or nil. Ids have one length, so only aligned places count: the end of
-- one id and the beginning of the next may well spell a third.
local function place_of(mark, id)
  for at = 2, #mark, ID_LENGTH do
    if string.sub(mark, at, at + ID_LENGTH - 1) == id then
      return at
    end
  end
  return nil
end

-- The keys of the session at this place: its own, its sidecar, and its item key or nil.
local STRIDE = ITEMS and 3 or 2
local SESSIONS = (#KEYS - 2) / STRIDE
local function keys_of(place)
  local at = 3 + STRIDE * (place - 1)
  return KEYS[at], KEYS[at + 1], ITEMS and KEYS[at + 2]
end

-- An expiry is milliseconds since the epoch, or '' for never. A time that has passed removes the key, as it would have
-- gone by itself.
local function store(key, value, expiry)
  if expiry == '' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PXAT', expiry)
  end
end

-- v := none.
local function remove(data, item)
  if item then
    redis.call('DEL', data, item)
  else
    redis.call('DEL', data)
  end
end

-- v := none, or a value with its expiry. The kind is 'none', or 'value' and right behind it what the item key is to hold.
local function put(data, item, kind, value, expiry)
  if string.sub(kind, 1, 5) ~= 'value' then
    return remove(data, item)
  end
  store(data, value, expiry)
  if not item then
    return
  end
  if #kind == 5 then
    redis.call('DEL', item)
  else
    store(item, string.sub(kind, 6), expiry)
  end
end

local function move_expiry(data, item, expiry)
  for _, key in ipairs({ data, item or nil }) do
    if expiry == '' then
      redis.call('PERSIST', key)
    else
      redis.call('PEXPIREAT', key, expiry)
    end
  end
end

-- What the item key holds; '' for nothing.
local function kept_in(item)
  return item and redis.call('GET', item) or ''
end

-- Rule 1, answer "L": adds an intent; cont := cont or others stand; the lease, if any, is dropped.
local function intend(side, mark, id)
  if has_intents(mark) then
    redis.call('SET', side, 'J' .. string.sub(mark, 2) .. id)
  else
    redis.call('SET', side, 'I' .. id)
  end
end

-- d := a fresh nonce, after v was changed; the lease, if any, is dropped. The place in the index is that of the first
-- change since R was last level with L, so that the oldest is drained first; a destroy moves to the front.
local function become_dirty(data, side, mark, nonce, sid)
  redis.call('SET', side, 'D' .. nonce)
  local destroyed = redis.call('EXISTS', data) == 0
  if destroyed or not is_dirty(mark) then
    local time = redis.call('TIME')
    local score = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZADD', KEYS[2], 'LT', destroyed and score - DESTROYS_FIRST or score, sid)
  end
end

-- When the key expires: milliseconds since the epoch, -1 for never, -2 where there is no key.
local function expiry_of(data)
  return redis.call('PEXPIRETIME', data)
end
