-- Rule 4, last step, for any number of sessions: L holds what R held when the nonce was read. Only if the nonce still
-- stands, for otherwise R has moved on: drop the mark and take the session out of the index.
--
-- ARGV, two for each session: nonce, sid. Answers 1 or 0 for each.

local cleaned = {}
for i = 1, SESSIONS do
  local _, side = keys_of(i)
  if string_in(side) == 'D' .. ARGV[2 * i] then
    redis.call('DEL', side)
    redis.call('ZREM', KEYS[2], ARGV[2 * i + 1])
    cleaned[i] = 1
  else
    cleaned[i] = 0
  end
end
return cleaned
