-- Rule 4, last step, for any number of sessions: L holds what R held when the nonce was read. Only if the nonce still
-- stands: drop the mark and take the session out of the index. While the index names it for another server of a pool,
-- too, that one is behind, and the mark stays. Otherwise R has moved on; but the first change that L lacks is then no older
-- than that reading, and the session's place in the index becomes that moment's. Else a session that is written all the
-- time would seem to be behind since its first write, and others would never have their turn.
--
-- ARGV, three for each session: nonce, sid, when the nonce was read by R's own clock (see view.lua). Answers 1 or 0 for each.

local function is_named_elsewhere(sid)
  if SERVERS == 0 then
    return false
  end
  for _, name in ipairs(names_of(string.sub(sid, #server_of(sid) + 1))) do
    if name ~= sid and score_of(name) then
      return true
    end
  end
  return false
end

local function come_closer(sid, seen)
  local score = tonumber(score_of(sid) or '')
  if not score then
    return
  end
  local place = (score < 0 and -DESTROYS_FIRST or 0) + seen
  if place > score then
    redis.call('ZADD', KEYS[2], 'XX', place, sid)
  end
end

local cleaned = {}
for i = 1, SESSIONS do
  local _, side = keys_of(i)
  local nonce, sid, seen = unpack(ARGV, 3 * i - 1, 3 * i + 1)
  local mark = string_in(side)
  if mark == 'D' .. nonce then
    if not is_named_elsewhere(sid) then
      redis.call('DEL', side)
    end
    redis.call('ZREM', KEYS[2], sid)
    cleaned[i] = 1
  else
    if is_dirty(mark) then
      come_closer(sid, seen)
    end
    cleaned[i] = 0
  end
end
return cleaned
