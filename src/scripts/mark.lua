-- Rule 7 (a gap is flushed) and rule 3 (a forced repair begins): L was, or may have been, written behind R's back.
-- Where R is ahead nothing is to be done. Where intents stand their values must not come back, for the unseen write
-- may be L's last: cont := 1. Otherwise v is dropped. Any lease is dropped, since L may have been read too early.

for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  local mark = mark_of(data, side, item)
  if has_intents(mark) then
    redis.call('SET', side, 'J' .. string.sub(mark, 2))
  elseif not is_dirty(mark) then
    redis.call('DEL', side)
    remove(data, item)
  end
end
