-- What all scripts share: this text stands before each of them (see index.ts, which also defines ID_LENGTH).
--
-- KEYS[1] is the seal, KEYS[2] the dirty index; then two keys for each session: its own key and its sidecar, and where
-- memcached's clients are served (ITEMS) a third, its item key; all in one slot. ARGV[1] is what the seal must begin with:
-- the trusted generation, the run of the server that the caller is connected to, and the prefix of the sessions' keys. Nonces, ids and times of expiry are made by the caller.
--
-- The sidecar is one string that begins with its tag:
--   no key        nothing is under way
--   L nonce       a lease: somebody is copying L into R
--   D nonce       dirty: R is ahead of L
--   I ids         open intents that never overlapped (cont = 0)
--   J ids         open intents, of which two overlapped since there was none (cont = 1)
-- One string is enough, since intents, dirty mark and lease exclude each other.
--
-- A sidecar that is none of these was broken by somebody else. Where it says dirty, or the dirty index names the session,
-- R is ahead: it is dirty under a new nonce. Else writes to L may be under way that nobody can name any more: L is
-- trusted and v dropped, as if intents of nobody had overlapped, until all that can be under way has ended. It stands as
-- a J without ids meanwhile, which runs out by itself.
--
-- A session's own key that is no string is no value. An item key of another length holds nothing.
--
-- The item key holds what such a client knows besides the value: flags (4 bytes), then the token (8 bytes) if one was
-- given out. It is there only where these are not the usual flags and no token, and lives exactly as long as the value.
--
-- A *pool* is several memcached servers (SERVERS of them, else 0) of which a client chooses by a rule of its own. Two of
-- them may hold an item under one key: after a failover, or when servers were added, an old copy stays where nobody looks
-- any more. A session's own key is the same whichever server its client asks. So the item key always begins with the mark
-- of a server, three bytes, and so does the sid in the dirty index; and this holds:
--   v belongs to the server that it was last read from, or written through. To a caller that comes by another server it
--   is as if it were not there, unless the dirty index names it for that server, too, or R alone is the truth.
-- So an old copy is never answered to those who look where the session is, however it came into R.

-- Rule 10: an R that is not the one that was armed does nothing.
local armed = redis.pcall('GET', KEYS[1])
if type(armed) == 'table' and string.find(armed.err, 'WRONGTYPE', 1, true) then
  armed = false
elseif type(armed) == 'table' then
  return armed
end
-- In a Redis Cluster (CLUSTER) slots move between servers and take their seals along, which therefore name the runs of all
-- servers that were armed. To the caller it is as if the seal named his alone, where that is among them.
if CLUSTER and armed then
  local runs = string.match(armed, '"run":"([%x,]+)"')
  local run = string.match(ARGV[1], '"run":"(%x+)"')
  if runs and run and string.find(runs, run, 1, true) then
    armed = string.gsub(armed, runs, run, 1)
  end
end
if not armed or string.sub(armed, 1, #ARGV[1]) ~= ARGV[1] then
  return redis.error_reply('SFLOST the seal is not the expected one')
end

local LEASE_LIFETIME = 30000
-- Puts every destroy before every write in the dirty index.
local DESTROYS_FIRST = 1e15

-- What the key holds, or false where it holds no string; and then whether it holds something else.
local function string_in(key)
  local found = redis.pcall('GET', key)
  if type(found) ~= 'table' then
    return found, false
  end
  if not string.find(found.err, 'WRONGTYPE', 1, true) then
    redis.call('GET', key)
  end
  return false, true
end

local function is_there(data)
  return redis.call('TYPE', data).ok == 'string'
end

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

-- The mark of the server with which a sid, or what an item key holds, begins; else ''.
local function server_of(text)
  return SERVERS > 0 and string.match(text, '^\238[\128-\131][\128-\191]') or ''
end

-- Under what names the dirty index may have this session.
local function names_of(rest)
  local names = { rest }
  for n = 0, SERVERS - 1 do
    names[#names + 1] = string.char(238, 128 + math.floor(n / 64), 128 + n % 64) .. rest
  end
  return names
end

-- Milliseconds since the epoch.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The score in the dirty index, without a change; false where it is not there.
local function score_of(sid)
  return redis.call('ZADD', KEYS[2], 'XX', 'INCR', 0, sid)
end

-- Whether v belongs to another server than the caller's. One that comes by no server sees every v.
local function is_elsewhere(item, server)
  if SERVERS == 0 or server == '' then
    return false
  end
  local owner = server_of(string_in(item) or '')
  return owner ~= '' and owner ~= server
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

-- When the key expires: milliseconds since the epoch, -1 for never, -2 where there is no key.
local function expiry_of(data)
  return redis.call('PEXPIRETIME', data)
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

-- Whether a caller by this server must not see v: it is elsewhere, and R is not ahead of the caller's server.
local function is_hidden(data, mark, item, server)
  if not is_elsewhere(item, server) then
    return false
  end
  return not is_dirty(mark) or not score_of(server .. string.sub(data, #cjson.decode(armed).prefix + 1))
end

-- What the item key holds; '' for nothing.
local function kept_in(item)
  local kept = item and string_in(item) or ''
  kept = string.sub(kept, #server_of(kept) + 1)
  return (#kept == 4 or #kept == 12) and kept or ''
end

-- What the item key holds := this, behind the server that stands there; a key that would hold nothing goes.
local function keep(data, item, kept)
  kept = server_of(string_in(item) or '') .. kept
  if kept == '' then
    redis.call('DEL', item)
    return
  end
  local expiry = expiry_of(data)
  store(item, kept, expiry == -1 and '' or expiry)
end

-- Whether a sidecar is one of ours.
local function is_whole(mark)
  local tag, ids = string.match(mark, '^([LDIJ])([0-9a-z]+)$')
  if not tag then
    return false
  end
  return #ids == ID_LENGTH or ((tag == 'I' or tag == 'J') and #ids % ID_LENGTH == 0)
end

-- Makes a broken sidecar whole; what it is then.
local function mended(data, side, item, broken)
  local sid = string.sub(data, #cjson.decode(armed).prefix + 1)
  local named = false
  for _, name in ipairs(names_of(sid)) do
    named = named or score_of(name)
  end
  if named or is_dirty(broken) then
    local time = redis.call('TIME')
    local micros = string.format('%010.0f', time[1] % 10000 * 1000000 + time[2])
    local mark = 'D' .. string.rep('z', ID_LENGTH - #micros) .. micros
    redis.call('SET', side, mark)
    if not named then
      local server = item and server_of(string_in(item) or '') or ''
      redis.call('ZADD', KEYS[2], now(), server .. sid)
    end
    return mark
  end
  remove(data, item)
  if broken ~= 'J' or redis.call('PTTL', side) < 0 then
    redis.call('SET', side, 'J', 'PX', LEASE_LIFETIME)
  end
  return 'J'
end

-- What stands in the sidecar; false for nothing. `v_stays`: whoever asks knows that R is the truth, or overwrites it all
-- the same, so that a broken mark is none.
local function mark_of(data, side, item, v_stays)
  local mark, is_other = string_in(side)
  if mark and is_whole(mark) then
    return mark
  end
  if not mark and not is_other then
    return false
  end
  if v_stays and not is_dirty(mark) then
    return false
  end
  return mended(data, side, item, mark)
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
-- change since R was last level with L, so that the oldest is drained first; a destroy moves to the front. In a pool v
-- belongs from now on to the server of the sid. Those that the index named before stay there until they have it, too:
-- their clients have written it, and may come back to them.
local function become_dirty(data, side, mark, nonce, sid, item)
  redis.call('SET', side, 'D' .. nonce)
  local destroyed = redis.call('EXISTS', data) == 0
  local server = server_of(sid)
  if server ~= '' and not destroyed and server_of(string_in(item) or '') ~= server then
    local expiry = expiry_of(data)
    store(item, server .. kept_in(item), expiry == -1 and '' or expiry)
  end
  if destroyed or not is_dirty(mark) or (SERVERS > 0 and not score_of(sid)) then
    local since = tonumber(score_of(sid) or '')
    if not since or since < 0 then
      since = now()
    end
    redis.call('ZADD', KEYS[2], 'LT', destroyed and since - DESTROYS_FIRST or since, sid)
  end
end
