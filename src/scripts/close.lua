-- Rule 1, last step, for any number of sessions: L has been written, the intent ends. If the intent does not stand (it
-- was swept, or R lost it), nothing is known of what it wrote: drop the lease, and drop v unless R is ahead. Else remove
-- it; when it was the last, v := what L holds now, unless two intents overlapped, for then nobody knows which of them L
-- took last. 'withdraw' ends an intent that may never have arrived, or was closed already: where it does not stand it
-- does nothing. What L said by one server of a pool says nothing about a v of another: that is not kept.
--
-- ARGV, four for each session: intent, kind 'value'... | 'none' | 'keep' | 'keep-until' | 'withdraw', value, expiry. With
-- a keep the mark of the server, or '', stands in the value's place.
-- Answers 1 for each.

local function close(data, side, item, intent, kind, value, expiry)
  local mark = mark_of(data, side, item)
  local at = has_intents(mark) and place_of(mark, intent)
  if not at then
    if kind == 'withdraw' then
      return
    end
    if tag_of(mark) == 'L' then
      redis.call('DEL', side)
    end
    if not is_dirty(mark) then
      remove(data, item)
    end
    return
  end

  local left = string.sub(mark, 2, at - 1) .. string.sub(mark, at + ID_LENGTH)
  if left ~= '' then
    redis.call('SET', side, tag_of(mark) .. left)
    return
  end
  redis.call('DEL', side)
  if tag_of(mark) == 'J' or kind == 'none' or kind == 'withdraw' then
    remove(data, item)
  elseif kind ~= 'keep' and kind ~= 'keep-until' then
    put(data, item, kind, value, expiry)
  elseif is_elsewhere(item, value) then
    remove(data, item)
  elseif kind == 'keep-until' then
    move_expiry(data, item, expiry)
  end
end

local answers = {}
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  close(data, side, item, unpack(ARGV, 4 * i - 2, 4 * i + 1))
  answers[i] = 1
end
return answers
