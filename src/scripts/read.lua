-- Rule 2 and rule 3, first step. For each session: intents stand, so trust L. Else v: a hit. Else dirty: a hit, and
-- there is no such session. Else L is to be read, and the lease that stands is shared, or the one offered is taken. A v
-- of another server of a pool stays until the lease is used, for others may be right to see it; while it is dirty there
-- is no lease. An R that has no room for one is read all the same: under a lease that does not stand nothing is filled.
--
-- ARGV[1 + i]: the lease offered for session i, and right behind it the mark of the server, if any; ARGV[2 + n]: 'values', or 'states' where a hit's value is not wanted.
-- Answers for each session {'L'} | {'V', value, expiry, kept, 1 where it is dirty} | {'D'} | {'T', lease}.

local n = #ARGV - 2
local values = ARGV[n + 2] == 'values'
local answers = {}
for i = 1, n do
  local data, side, item = keys_of(i)
  local lease = string.sub(ARGV[1 + i], 1, ID_LENGTH)
  local server = string.sub(ARGV[1 + i], ID_LENGTH + 1)
  local mark = mark_of(data, side, item)
  if has_intents(mark) then
    answers[i] = { 'L' }
  elseif is_there(data) and not is_hidden(data, mark, item, server) then
    answers[i] = values and { 'V', redis.call('GET', data), expiry_of(data), kept_in(item), is_dirty(mark) and 1 or nil }
      or { 'V' }
  elseif is_dirty(mark) then
    answers[i] = { is_there(data) and 'L' or 'D' }
  elseif mark then
    answers[i] = { 'T', string.sub(mark, 2) }
  else
    redis.pcall('SET', side, 'L' .. lease, 'PX', LEASE_LIFETIME)
    answers[i] = { 'T', lease }
  end
end
return answers
