-- The writes of `complete`, where R is alone and there are no marks: plain commands, but for the seal.
--
-- ARGV: verb 'set' | 'touch' | 'destroy', value, expiry. Answers 1 if there was something to change, else 0.

local data = KEYS[3]
local verb, value, expiry = unpack(ARGV, 2)

if verb == 'set' then
  put(data, value, expiry)
  return 1
end
if verb == 'destroy' then
  return redis.call('DEL', data)
end
local there = redis.call('EXISTS', data)
if there == 1 then
  move_expiry(data, expiry)
end
return there
