-- Rule 4, last step, for any number of sessions: L holds what R held when the nonce was read. Only if the nonce still
-- stands, for otherwise R has moved on: drop the mark and take the session out of the index. While the index names it
-- for another server of a pool, too, that one is behind, and the mark stays.
--
-- ARGV, two for each session: nonce, sid. Answers 1 or 0 for each.

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

local cleaned = {}
for i = 1, SESSIONS do
  local _, side = keys_of(i)
  local sid = ARGV[2 * i + 1]
  if string_in(side) == 'D' .. ARGV[2 * i] then
    if not is_named_elsewhere(sid) then
      redis.call('DEL', side)
    end
    redis.call('ZREM', KEYS[2], sid)
    cleaned[i] = 1
  else
    cleaned[i] = 0
  end
end
return cleaned
