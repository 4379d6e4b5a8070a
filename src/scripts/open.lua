-- Rule 1, first step, for any number of sessions. A mode L write unless R is ahead, and a mode R write behind open
-- intents, go to L: leave an intent, answer 'L'. Otherwise R is the authority: v := the value or none, d := a fresh
-- nonce, answer 'R'.
--
-- A mode L caller does not send the value at first, since it is hardly ever needed; where it is, '?' asks for it and
-- nothing has changed.
--
-- A caller in full-redis reads R alone, and no intent is opened there any more: one that stands is nobody's. An R that
-- restarted with older data brought it along. What went to L behind it would never be read.
--
-- ARGV, seven for each session: mode 'L' | 'R' | 'A' (R, which the caller reads alone), intent, nonce, sid, kind 'value'... | 'none' | 'later', value, expiry.

local function open(data, side, item, mode, intent, nonce, sid, kind, value, expiry)
  local mark = mark_of(data, side, item, mode ~= 'L')
  if (mode == 'L' and not is_dirty(mark)) or (mode == 'R' and has_intents(mark)) then
    intend(side, mark, intent)
    return 'L'
  end
  if kind == 'later' then
    return '?'
  end
  put(data, item, kind, value, expiry)
  become_dirty(data, side, mark, nonce, sid, item)
  return 'R'
end

local answers = {}
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  answers[i] = open(data, side, item, unpack(ARGV, 7 * i - 5, 7 * i + 1))
end
return answers
