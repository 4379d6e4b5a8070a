-- Rule 13: an open whose new value depends on the old one, decided where the truth is.
-- (1) Where L is the authority: as open, answer 'L'.
-- (2) Else, if R's state is known (v is there, or R is dirty, or the lease stands under which L was read as absent, or
--     the caller works in a phase in which absence in R is knowledge): run the verb on v. Success: the verb changed v;
--     drop the lease, d := a fresh nonce, answer 'done'. A refusal changes nothing: 'refused'.
-- (3) Else 'unknown': the caller makes it known by a read. Where there are no intents, mode R never opens one.
--
-- ARGV: mode, intent, nonce, sid, lease or '', known '1' | '0', verb, then the verb's own arguments.

local data, side = KEYS[3], KEYS[4]
local mode, intent, nonce, sid, lease, known, verb = unpack(ARGV, 2, 8)

-- Each verb looks at v, and changes it and answers true, or leaves it and answers false.
local verbs = {
  -- expiry: the session lives on until then.
  touch = function(expiry)
    if redis.call('EXISTS', data) == 0 then
      return false
    end
    move_expiry(data, expiry)
    return true
  end,
}

local mark = redis.call('GET', side)
if (mode == 'L' and not is_dirty(mark)) or (mode == 'R' and has_intents(mark)) then
  intend(side, mark, intent)
  return 'L'
end
local is_known = known == '1'
  or is_dirty(mark)
  or (lease ~= '' and mark == 'L' .. lease)
  or redis.call('EXISTS', data) == 1
if not is_known then
  return 'unknown'
end
if not verbs[verb](unpack(ARGV, 9)) then
  return 'refused'
end
become_dirty(data, side, mark, nonce, sid)
return 'done'
