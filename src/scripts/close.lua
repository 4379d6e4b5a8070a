-- Rule 1, last step, for any number of sessions: L has been written, the intent ends. If the intent does not stand (it
-- was swept, or R lost it), nothing is known of what it wrote: drop the lease, and drop v unless R is ahead; those that
-- stand overlapped it. Else remove it; when it was the last, v := what L holds now, unless two intents overlapped, for then nobody knows which of them L
-- took last. 'withdraw' ends an intent that may never have arrived, or was closed already: where it does not stand it
-- does nothing. What L said by one server of a pool says nothing about a v of another: that is not kept.
--
-- ARGV, four for each session: intent, kind 'value'... | 'none' | 'keep' | 'keep-until' | 'revalue' | 'withdraw', value,
-- expiry. With a keep the mark of the server, or '', stands in the value's place, and with a revalue in that of the expiry.
-- Answers 1 for each.

-- A count that L took: what stands beside the value stays. memcached puts a shorter text in the place of the old one and
-- fills up with blanks, or makes a new item: then nobody knows what L holds.
local function recount(data, item, value, server)
  local hidden = string_in(data)
  if not hidden or #value < #hidden or is_elsewhere(item, server) then
    return remove(data, item)
  end
  redis.call('SET', data, value, 'KEEPTTL')
  if item then
    keep(data, item, string.sub(kept_in(item), 1, 4))
  end
end

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
    if has_intents(mark) then
      redis.call('SET', side, 'J' .. string.sub(mark, 2))
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
  elseif kind == 'revalue' then
    recount(data, item, value, expiry)
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
