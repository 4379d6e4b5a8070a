-- Rule 3, last step, for any number of sessions: what was read from L under a lease is written only if that lease
-- still stands, for then no write began since; the lease is dropped. That one server of a pool holds nothing does not
-- take away the v of another, which a caller by that one is right to see.
--
-- ARGV, four for each session: lease, kind 'value'... | 'none', value, expiry. Answers 1 or 0 for each.

local filled = {}
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  local lease, kind, value, expiry = unpack(ARGV, 4 * i - 2, 4 * i + 1)
  if string_in(side) == 'L' .. lease then
    if SERVERS == 0 or kind ~= 'none' or not is_there(data) then
      put(data, item, kind, value, expiry)
    end
    redis.call('DEL', side)
    filled[i] = 1
  else
    filled[i] = 0
  end
end
return filled
