-- A read that asks for a token, which must come from the store that a cas would be decided in.
-- Mode L: that is L. Where R is ahead, L must first be drained ('B', behind); where R does not know the session, a lease
-- as in a read. Mode R: intents stand, so L has the authority until they end. Else v: a hit, with its token; an item
-- without one gets the fresh one. Else dirty: there is no such session. Else a lease. 'known': what R holds is the truth,
-- and absence is knowledge.
--
-- ARGV: mode, lease offered, known '1' | '0', fresh token, usual flags, mark of the server or ''.
-- Answers {'L'} | {'B'} | {'V', value, expiry, kept, 1 where it is dirty} | {'D'} | {'T', lease}.

local data, side, item = keys_of(1)
local mode, lease, known, fresh, usual, server = unpack(ARGV, 2)

local mark = mark_of(data, side, item, known == '1')
if known ~= '1' then
  local hidden = is_there(data) and is_hidden(data, mark, item, server)
  if mode == 'L' and is_dirty(mark) and not hidden then
    return { 'B' }
  end
  local there = is_there(data) and not hidden
  if has_intents(mark) or (mode == 'L' and there) or (hidden and is_dirty(mark)) then
    return { 'L' }
  end
  if not there and not is_dirty(mark) then
    if not mark then
      redis.pcall('SET', side, 'L' .. lease, 'PX', LEASE_LIFETIME)
      return { 'T', lease }
    end
    return { 'T', string.sub(mark, 2) }
  end
end
local value = string_in(data)
if not value then
  return { 'D' }
end
return { 'V', value, expiry_of(data), with_token(data, item, fresh, usual), is_dirty(mark) and 1 or nil }
